# %% [markdown]
# # Morph two looks into a GIF
#
# Looks blend by their latent codes (the paper's Eq. 13). Needs an avatar: run `make_avatar.py` or `make demo` first.

# %%
import os
from pathlib import Path

import numpy as np
from PIL import Image

from perse.avatar import Avatar
from perse.dataset import default_motion
from perse.viewer.media import to_uint8

OUT = Path(os.environ.get("PERSE_OUT", "runs/demo"))
STEPS = int(os.environ.get("PERSE_STEPS", "24"))

avatar = Avatar.load(OUT / "avatar")

# %% [markdown]
# ## Two looks
# Only what differs between them moves: everything else of the picture stands still.

# %%
first = avatar.reference
second = avatar.look(hair=avatar.learned("hair")[0], hat=avatar.learned("hat")[0])

# %% [markdown]
# ## There and back, while the head turns
# `avatar.mix(a, b, weight)` blends whole looks; `category="hair"` only one part.

# %%
there = np.linspace(0, 1, STEPS)
weights = np.concatenate([there, there[-2:0:-1]])
camera = avatar.camera.resized(256, 256)
expr, pose = default_motion().expr[:1], default_motion().pose[:1].clone()
pictures = []
for t, weight in enumerate(weights):
    pose[0, 4] = 0.3 * np.sin(2 * np.pi * t / len(weights))  # yaw, radians
    look = avatar.mix(first, second, float(weight))
    pictures.append(Image.fromarray(to_uint8(avatar.render(look, expr, pose, camera)[0])))

# %%
path = OUT / "morph.gif"
pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=60, loop=0)
print(path)
