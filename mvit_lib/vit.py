"""ViT (Dosovitskiy et al., 2021; DeiT's shapes): the network MobileViT is measured against."""

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor, nn

from mvit_lib.classifier import Classifier, check_config, check_images
from mvit_lib.layers import Dropout, TransformerLayer, init_weights
from mvit_lib.patches import Pair, as_pair
from mvit_lib.transforms import EvalTransform


@dataclass(frozen=True)
class ViTConfig:
    """The numbers that make one ViT; the default is DeiT-Ti.

    image_size, patch_size: pixels, an int or (height, width); patches must tile the image.
    dim: width D. mlp_ratio: hidden width of the MLP over D. num_classes 0 builds no classifier.
    Raises: ValueError naming the field that cannot be meant.
    Source: Table 1 of Touvron et al. 2021 (DeiT).
    """

    image_size: Pair = 224
    patch_size: Pair = 16
    dim: int = 192
    depth: int = 12
    num_heads: int = 3
    mlp_ratio: float = 4
    dropout: float = 0.0
    num_classes: int = 1000
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        check_config(self)
        for name in ("image_size", "patch_size"):
            object.__setattr__(self, name, as_pair(getattr(self, name), name))
        (H, W), (ph, pw) = self.image_size, self.patch_size
        if H % ph or W % pw:
            raise ValueError(f"patch_size={(ph, pw)} does not divide image_size={(H, W)}")

    @property
    def grid(self) -> tuple[int, int]:
        """Patches per column and per row."""
        return self.image_size[0] // self.patch_size[0], self.image_size[1] // self.patch_size[1]


DEIT_TI = ViTConfig()
DEIT_S = ViTConfig(dim=384, num_heads=6)
DEIT_B = ViTConfig(dim=768, num_heads=12)


class ViT(Classifier):
    """Patches to tokens, a class token in front, learned positions, pre-norm transformer layers.

    The convolution with stride = kernel = patch is the linear projection of `patchify`'s rows. No norm
    stands before the tokens, so to train it on pixels from 0 to 1 give it 2x - 1, as its authors do.

    Shape: RGB float images [B, 3, H, W] of exactly config.image_size, in [0, 1]
    -> logits [B, num_classes]; with num_classes=0 the class token, [B, D].
    Source: Dosovitskiy et al. 2021, equations 1-4.
    """

    def __init__(self, config: ViTConfig) -> None:
        crop = min(config.image_size)
        super().__init__(config, EvalTransform(resize=round(crop / 0.875), crop=crop))
        nH, nW = config.grid
        self.patch_embedding = nn.Conv2d(3, config.dim, config.patch_size, config.patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.positions = nn.Parameter(torch.zeros(1, 1 + nH * nW, config.dim))
        self.dropout = Dropout(config.dropout)
        self.transformer = nn.Sequential(
            *(
                TransformerLayer(
                    config.dim,
                    config.num_heads,
                    config.mlp_ratio,
                    activation=nn.GELU,
                    dropout=config.dropout,
                    norm_eps=config.norm_eps,
                )
                for _ in range(config.depth)
            )
        )
        self.norm = nn.LayerNorm(config.dim, config.norm_eps)
        if config.num_classes:
            self.classifier = nn.Linear(config.dim, config.num_classes)
        self.apply(init_weights)
        nn.init.trunc_normal_(self.patch_embedding.weight, std=0.02)
        nn.init.zeros_(self.patch_embedding.bias)
        nn.init.trunc_normal_(self.class_token, std=0.02)
        nn.init.trunc_normal_(self.positions, std=0.02)

    def preprocess(self, image: Image.Image) -> Tensor:
        """PIL image -> float32 [1, 3, crop, crop]; ValueError if this ViT does not take squares."""
        H, W = self.config.image_size
        if H != W:
            raise ValueError(f"preprocess cuts squares, this ViT takes images of {H} × {W}")
        return super().preprocess(image)

    def forward_tokens(self, x: Tensor) -> Tensor:
        """All tokens after the last layer: [B, 1 + N, D], the class token first.

        Raises: ValueError if the images are not of config.image_size, since each position of that
        size has its own learned vector; TypeError if they are not float.
        """
        check_images(x, 1)
        if tuple(x.shape[-2:]) != self.config.image_size:
            raise ValueError(
                f"this ViT has positions for images of {self.config.image_size}, got {tuple(x.shape[-2:])}"
            )
        x = self.patch_embedding(x).flatten(2).transpose(1, 2)  # [B, N, D]
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], dim=1)  # [B, 1 + N, D]
        x = self.dropout(x + self.positions)  # [B, 1 + N, D]
        return self.norm(self.transformer(x))  # [B, 1 + N, D]

    def forward(self, x: Tensor) -> Tensor:
        x = self.forward_tokens(x)[:, 0]  # [B, D]
        return self.classifier(x) if self.config.num_classes else x  # [B, num_classes]
