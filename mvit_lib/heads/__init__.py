"""What a backbone is for: finding objects with SSDLite, naming every pixel with DeepLabv3."""

from mvit_lib.heads.deeplabv3 import DeepLabV3, Segmentation
from mvit_lib.heads.ssdlite import Detection, SSDLite

__all__ = ["DeepLabV3", "Detection", "SSDLite", "Segmentation"]
