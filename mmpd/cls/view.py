"""What the Distiller needs to know of an image classifier: stem, maps and head of a CNN or a vision transformer."""

from __future__ import annotations

from typing import Any

from mmpretrain.models import BaseClassifier, VisionTransformer
from torch import Tensor, nn

from ..distill.taps import Taps
from ..distill.view import NetworkView, register_view
from ..errors import ConfigError
from .tokens import tokens_to_map


@register_view(BaseClassifier)
class ClassifierView(NetworkView):
    """An mmpretrain classifier.

    CNN: the stem is the first convolution, the features are the backbone's maps (the neck pools them to vectors).
    Vision transformer: the stem is patch embedding plus position embedding, the one feature map are the last tokens
    after the final norm, both without class token and on the grid of the patches.
    The head's output are the logits (B, C).
    """

    pooled = True

    def __init__(self, net: Any) -> None:
        super().__init__(net)
        self.head = net.head
        self.features = net.backbone
        self.is_vit = isinstance(net.backbone, VisionTransformer)
        if self.is_vit:
            self.features = net.backbone.ln1 if net.backbone.final_norm else net.backbone.layers[-1]
            # The stride of a cropped patch grid (56 pixels, patches of 16: 3 cells) is not that of a larger image.
            self.probe_side = int(net.backbone.img_size[0])

    def find_stem(self) -> nn.Module:
        if isinstance(self.net.backbone, VisionTransformer):
            return self.net.backbone.drop_after_pos
        return super().find_stem()

    def taps(self) -> Taps:
        modules = {'stem': self.stem, 'features': self.features, 'head': self.head}
        if not self.is_vit:
            return Taps(modules)
        return TokenTaps({'patches': self.net.backbone.patch_embed, **modules}, self.net.backbone.num_extra_tokens)

    def feature_maps(self, output: Any) -> tuple[Tensor, ...]:
        maps = super().feature_maps(output)
        if any(feature.ndim != 4 for feature in maps):
            raise ConfigError(
                f'backbone {type(self.net.backbone).__name__} gives outputs of shape '
                f'{[tuple(feature.shape) for feature in maps]}, not maps (B, C, h, w): set its out_type to feature '
                'maps (ConvNeXt, EdgeNeXt, HorNet: gap_before_final_norm=False), and pool them in a neck'
            )
        return maps

    def num_classes(self) -> int | None:
        return getattr(self.net.head, 'num_classes', None)


class TokenTaps(Taps):
    """Taps that record stem and features of a vision transformer as maps.

    The grid is what the patch embedding made of this very image: it need not be square.

    Args:
        modules: with the patch embedding as 'patches'.
        num_extra_tokens: class (and distillation) tokens in front of the patches.
    """

    def __init__(self, modules: dict[str, nn.Module], num_extra_tokens: int) -> None:
        super().__init__(modules)
        self.num_extra_tokens = num_extra_tokens

    def _record(self, name: str):
        hook = super()._record(name)
        if name not in ('stem', 'features'):
            return hook

        def as_map(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            hook(module, inputs, tokens_to_map(output, self['patches'][1], self.num_extra_tokens))

        return as_map
