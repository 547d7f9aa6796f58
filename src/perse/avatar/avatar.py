"""`Avatar`: a learned person to load, dress, blend, pose and draw."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perse.avatar.adapter_storage import load_adapters
from perse.avatar.adapters import Adapter
from perse.avatar.baked import BakedLook
from perse.avatar.codes import Codes, Look
from perse.avatar.model import AvatarModel
from perse.avatar.posing import Canonical
from perse.avatar.subjects import LearnedSubject, Wardrobe
from perse.avatar.text import learned_rows, text_code
from perse.dataset import CATEGORIES, Attribute, load_maker
from perse.errors import PerseError
from perse.head import Head, open_head
from perse.splat import Camera, Gaussians, render

FRAMES_AT_ONCE = 8
"""Frames posed together; bounds the memory of long renders."""


@dataclass(frozen=True)
class Rendering:
    """Pictures of F frames."""

    rgb: Tensor
    """[F, H, W, 3] in [0, 1]."""
    alpha: Tensor
    """[F, H, W] in [0, 1]."""
    labels: Tensor | None = None
    """[F, H, W] uint8 codes of LABELS; only where asked for."""


class Avatar:
    """One person with everything that was learned to wear.

    Looks are made by prompt (:meth:`look`), by subject (:meth:`look_of`), or by blending (:meth:`mix`).
    """

    def __init__(
        self,
        model: AvatarModel,
        subjects: tuple[LearnedSubject, ...],
        camera: Camera,
        betas: Tensor,
        rest: tuple[Tensor, Tensor] | None = None,
        head_name: str = "the open head",
        encoder: str | None = None,
    ) -> None:
        """Usually made by `perse.training.train` or `Avatar.load`.

        Args:
            camera: the camera of its training frames. betas: head shape [100].
            rest: psi [50] and theta [15] of the picture that stands for the avatar (preview); neutral if None.
            encoder: name of the `Encoder` that made the features f_I, f_T; None: not known.
        """
        self.model = model.eval().requires_grad_(False)
        self.camera = camera.to("cpu")
        self.betas = betas.to("cpu")
        self.rest = rest if rest is not None else (torch.zeros(50), torch.zeros(15))
        self.head_name = head_name
        self.encoder = encoder
        self._wardrobe = Wardrobe(subjects)

    # ---- what it knows ----------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.joints.device

    @property
    def head(self) -> Head:
        """The head model that its expressions and poses belong to."""
        head = open_head()
        if head.name != self.head_name:
            raise PerseError(
                f"this avatar was learned on {self.head_name!r}; load that head with perse.head.load_flame"
            )
        return head

    @property
    def subjects(self) -> tuple[LearnedSubject, ...]:
        """The subjects it learned from; the first is the reference."""
        return self._wardrobe.subjects

    def learned(self, category: str) -> tuple[str, ...]:
        """Prompts of a category that it can wear. PerseError for an unknown category."""
        return self._wardrobe.prompts(category)

    # ---- looks ------------------------------------------------------------------------------------------

    @property
    def reference(self) -> Look:
        """The person of the portrait, unedited."""
        return self._look((), (), {}, "reference")

    def look(self, **attributes: str | None) -> Look:
        """A look by prompts: ``look(hair="long curly red", hat=None)``; None takes a part off.

        A prompt of the vocabulary that was never learned is drawn from its words alone (`Look.from_words` says so):
        the more looks of the category were learned, the better.

        Raises:
            PerseError: unknown category or words (the message names the nearest learned looks), or words alone
                where too few looks were learned.
        """
        chosen = self._wardrobe.choose(attributes)
        words = [text if text is not None else f"no {category}" for category, text in attributes.items()]
        prompts = {**attributes, **chosen.spoken}
        look = self._look(
            tuple(chosen.entries.values()), chosen.absent, prompts, " + ".join(words) or "reference"
        )
        for category, prompt in chosen.spoken.items():
            look = self._spoken(look, category, prompt)
        for category, name in chosen.adapters.items():
            slot = self.model.latent.categories.index(category)
            z = self.model.adapters[name].z
            look = replace(look, codes=look.codes.replaced(slot, z, 1.0, adapter=name))
        return look

    # ---- looks learned later ------------------------------------------------------------------------------

    @property
    def transferred(self) -> dict[str, str]:
        """Looks that were learned after the avatar (`perse transfer`): name -> category."""
        return {name: adapter.shape.category for name, adapter in self.model.adapters.items()}

    def add(self, adapter: Adapter) -> None:
        """Take in a look. PerseError if something has its name."""
        self._wardrobe.add(adapter.shape.name, adapter.shape.category)
        adapter = adapter.to(self.device).eval().requires_grad_(False)
        self.model.adapters[adapter.shape.name] = adapter

    def add_saved(self, folder: str | Path) -> None:
        """Take in the looks in this avatar's folder that it does not have yet. PerseError for a damaged one."""
        for adapter in load_adapters(Path(folder), self.model):
            if adapter.shape.name not in self.model.adapters:
                self.add(adapter)

    def remove(self, name: str) -> None:
        """Forget a look that was learned later; nothing else changes. PerseError if there is none."""
        self._wardrobe.remove(name)
        del self.model.adapters[name]

    # ---- looks from words ---------------------------------------------------------------------------------

    @torch.no_grad()
    def _spoken(self, look: Look, category: str, prompt: str) -> Look:
        """A look with one category drawn from its words alone."""
        try:
            learned_rows(self.model, category)  # before the encoder is read
            feature = self._text_feature(prompt)
            code = text_code(self.model, category, prompt, feature, self._wardrobe.entry_prompts(category))
        except PerseError as error:
            known = self._wardrobe.known(category, prompt)
            raise PerseError(f'this avatar has not learned "{prompt}"; {error}. {known}') from error
        slot = self.model.latent.categories.index(category)
        return replace(
            look,
            codes=look.codes.replaced(slot, code.z, code.presence),
            from_words={**look.from_words, category: code.learned},
        )

    def _text_feature(self, prompt: str) -> Tensor:
        """f_T of a prompt, on the device."""
        if self.encoder is None:
            raise PerseError("which encoder made the features of the learned ones is not known")
        feature = self._encoder.text(prompt)
        if feature.shape != (self.model.latent.split[1],):
            raise PerseError(
                f"the encoder {self.encoder!r} gives other features than those of the learned ones"
            )
        return feature.to(self.device, torch.float32)

    @cached_property
    def _encoder(self) -> Any:
        return load_maker("encoder", str(self.encoder))

    def look_of(self, subject_id: str) -> Look:
        """The look of one learned subject. PerseError if it has no such subject."""
        for subject in self.subjects:
            if subject.id == subject_id:
                prompts = {a.category: a.prompt for a in subject.attributes}
                return self._look(subject.entries, (), prompts, " + ".join(prompts.values()) or "reference")
        raise PerseError(
            f"this avatar has not learned a subject {subject_id!r}; it has {len(self.subjects)} others"
        )

    def mix(self, a: Look, b: Look, weight: float, category: str | None = None) -> Look:
        """Blend two looks (Eq. 13): weight 0 is `a`, 1 is `b`; only one category if named.

        Raises:
            PerseError: unknown category, or a weight outside 0 to 1.
        """
        if not 0.0 <= weight <= 1.0:
            raise PerseError(f"the weight of a mix must lie between 0 and 1, not {weight}")
        only = None
        if category is not None:
            self._wardrobe.prompts(category)  # refuses an unknown one
            only = self.model.latent.categories.index(category)
        codes = a.codes.mix(b.codes, weight, only, by_presence=self.model.field.uses_presence)
        name = f"{a.name} {1 - weight:.0%}, {b.name} {weight:.0%}"
        return Look(codes, {**a.attributes, **b.attributes}, name, {**a.from_words, **b.from_words})

    @torch.no_grad()
    def _look(self, entries: tuple[int, ...], absent: tuple[str, ...], prompts: dict, name: str) -> Look:
        return Look(self.model.latent.codes(entries, absent), dict(prompts), name)

    # ---- drawing ----------------------------------------------------------------------------------------

    @torch.no_grad()
    def canonical(self, look: Look) -> Canonical:
        """The look's points before posing."""
        return self.model.canonical(look.codes.to(self.device)).detach()

    @torch.no_grad()
    def bake(self, look: Look, pose_mlp: bool = True) -> BakedLook:
        """The look as plain points for playback and export; `pose_mlp` False leaves pose-dependent detail out."""
        mlp = self.model.pose_mlp if pose_mlp else None
        return BakedLook.of(self.canonical(look), self.model.joints, mlp, look.name)

    @torch.no_grad()
    def gaussians(self, look: Look, expr: Tensor, pose: Tensor) -> Gaussians:
        """Posed Gaussians [F, N, .] of expr [F, 50] and pose [F, 15]."""
        expr, pose = self._motion(expr, pose)
        return self.model.pose(self.canonical(look), expr, pose)

    def render(
        self,
        look: Look,
        expr: Tensor,
        pose: Tensor,
        camera: Camera | None = None,
        background: Tensor | float | tuple[float, float, float] | None = None,
    ) -> Tensor:
        """Pictures of a look: expr [F, 50], pose [F, 15] -> [F, H, W, 3] in [0, 1], on the device.

        Args:
            camera: one camera, or F of them; the camera of the training frames if None.
            background: grey level or colour behind the person; white unless told.
        """
        return self.render_layers(look, expr, pose, camera, background).rgb

    @torch.no_grad()
    def render_layers(
        self,
        look: Look,
        expr: Tensor,
        pose: Tensor,
        camera: Camera | None = None,
        background: Tensor | float | tuple[float, float, float] | None = None,
        labels: bool = False,
    ) -> Rendering:
        """Like :meth:`render`, with alpha and, at wish, the part label of every pixel."""
        expr, pose = self._motion(expr, pose)
        camera = (camera or self.camera).to(self.device)
        color = torch.as_tensor(
            1.0 if background is None else background, dtype=torch.float32, device=self.device
        ).expand(3)
        canonical = self.canonical(look)
        drawn = []
        for start in range(0, len(expr), FRAMES_AT_ONCE):
            part = slice(start, start + FRAMES_AT_ONCE)
            view = camera if camera.viewmat.ndim == 2 else replace(camera, viewmat=camera.viewmat[part])
            posed = self.model.pose(canonical, expr[part], pose[part])
            drawn.append(render(posed, view, color, labels=canonical.labels if labels else None))
        return Rendering(
            rgb=torch.cat([part.image for part in drawn]).clamp(0, 1),
            alpha=torch.cat([part.alpha for part in drawn]).clamp(0, 1),
            labels=torch.cat([part.labels for part in drawn]) if labels else None,
        )

    def _motion(self, expr: Tensor, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Checked, on the device."""
        if (
            expr.ndim != 2
            or pose.ndim != 2
            or expr.shape[1] != 50
            or pose.shape[1] != 15
            or len(expr) != len(pose)
        ):
            raise ValueError(
                f"expr must be [F, 50] and pose [F, 15], not {list(expr.shape)} and {list(pose.shape)}"
            )
        return expr.to(self.device, torch.float32), pose.to(self.device, torch.float32)

    # ---- keeping ----------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> Path:
        """Write the avatar as a folder; an older one there is replaced only once the new one is whole."""
        from perse.avatar.storage import save_avatar

        return save_avatar(self, Path(folder))

    @staticmethod
    def load(folder: str | Path, device: torch.device | str = "cpu") -> Avatar:
        """Read what `save` wrote. PerseError names the file that is missing, damaged, foreign or too large."""
        from perse.avatar.storage import load_avatar

        return load_avatar(Path(folder), device)


__all__ = ["CATEGORIES", "Attribute", "Avatar", "Codes", "Look", "Rendering"]
