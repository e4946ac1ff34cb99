"""Solutions of notebook 00."""


def partners(y: int, x: int, size: tuple[int, int], patch: tuple[int, int]) -> list[tuple[int, int]]:
    # A pixel's place inside its patch is what remains after dividing by the patch size.
    # The pixels of that place lie one patch apart, so range() steps through them.
    # The pixel itself is among them: attention lets a token listen to itself too.
    (H, W), (ph, pw) = size, patch
    return [(row, column) for row in range(y % ph, H, ph) for column in range(x % pw, W, pw)]
