"""The three sizes of MobileViT as transformers' MobileViTConfig wants to be told of them."""

HF_CHANGES = {
    "xxs": {
        "hidden_sizes": [64, 80, 96],
        "neck_hidden_sizes": [16, 16, 24, 48, 64, 80, 320],
        "hidden_dropout_prob": 0.05,
        "expand_ratio": 2.0,
    },
    "xs": {"hidden_sizes": [96, 120, 144], "neck_hidden_sizes": [16, 32, 48, 64, 80, 96, 384]},
    "s": {},
}
