"""What a CLIP is, as data: what a tower's tensors cannot tell is written here and never guessed."""

from __future__ import annotations

from dataclasses import dataclass

ACTIVATIONS = ("quick_gelu", "gelu")
TEXT_HEAD_WIDTH = 64  # of every CLIP with OpenAI's text tower, whatever its size


@dataclass(frozen=True)
class Architecture:
    """Sizes and kinds of a CLIP's two towers.

    Raises:
        ValueError: an unknown activation, or a width that its attention heads do not divide.
    """

    embed_dim: int
    image_resolution: int  # pixels
    vision_layers: int | tuple[int, int, int, int]  # four numbers make a ModifiedResNet
    vision_width: int
    vision_patch_size: int | None  # pixels; None for a ModifiedResNet
    context_length: int
    vocab_size: int
    transformer_width: int
    transformer_layers: int
    family: str = "openai"  # whose image tower: "openai" or "eva02"
    activation: str = "quick_gelu"  # of the MLPs of both towers; EVA02's image tower has its own gate
    vision_head_width: int = 64  # channels of an attention head (of the attention pool in a ResNet)
    vision_mlp_width: int | None = None  # hidden channels; None: four times the width
    transformer_mlp_width: int | None = None  # the same of the text tower
    vision_norm_eps: float = 1e-5  # of the layer norms of a ViT; those of the text tower have 1e-5

    def __post_init__(self) -> None:
        check_activation(self.activation)
        # a ResNet's feature map has 32 times the channels of its stem when attention pools it
        channels = self.vision_width if isinstance(self.vision_layers, int) else 32 * self.vision_width
        check_head_width(self.vision_head_width, channels, "image")
        check_head_width(TEXT_HEAD_WIDTH, self.transformer_width, "text")

    @property
    def vision_hidden_width(self) -> int:
        """Hidden channels of an MLP of the image tower."""
        return 4 * self.vision_width if self.vision_mlp_width is None else self.vision_mlp_width

    @property
    def transformer_hidden_width(self) -> int:
        """Hidden channels of an MLP of the text tower."""
        return (
            4 * self.transformer_width if self.transformer_mlp_width is None else self.transformer_mlp_width
        )


def check_activation(activation: str) -> None:
    """Raises ValueError unless ``activation`` is one of `ACTIVATIONS`."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}, must be one of: {', '.join(ACTIVATIONS)}")


def check_head_width(head_width: int, channels: int, tower: str) -> None:
    """Raises ValueError unless heads of ``head_width`` divide the ``tower``'s channels."""
    if head_width < 1 or channels % head_width:
        raise ValueError(f"head_width is {head_width}, which does not divide the {tower} tower's {channels}")
