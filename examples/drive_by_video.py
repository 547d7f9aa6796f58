# %% [markdown]
# # Drive an avatar by a video
#
# Expression, gaze and turn of the face in a video move the avatar; what the driver looks like stays behind. The command
# `perse drive` does the same. Needs an avatar: run `make_avatar.py` or `make demo` first.

# %%
import os
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from perse import assets
from perse.avatar import Avatar
from perse.capture import FaceDriver, motion_of, open_source, write_take
from perse.drive import beside
from perse.viewer import write_video
from perse.viewer.media import to_uint8

OUT = Path(os.environ.get("PERSE_OUT", "runs/demo"))
FRAMES = int(os.environ.get("PERSE_FRAMES", "240"))
VIDEO = os.environ.get("PERSE_VIDEO") or str(
    assets.path("talking_head_video")
)  # a face of your own, or "webcam"

# %% [markdown]
# ## Follow the face, frame by frame
# The driver is calibrated on the calmest faces of the first ten seconds. Every frame is answered before the next comes.

# %%
source = open_source(VIDEO)
driven, pictures = [], []
with FaceDriver() as driver:
    driver.calibrate(source.calm())
    for time, picture in islice(source.frames(), FRAMES):
        driven.append(driver(picture, time))
        pictures.append(picture)
source.close()
print(f"{np.median([frame.seconds for frame in driven]) * 1000:.0f} ms a frame")

# %% [markdown]
# ## Draw the avatar with that motion
# A baked look is evaluated once; posing and drawing it is all that is left.

# %%
avatar = Avatar.load(OUT / "avatar")
look = avatar.bake(avatar.reference)
camera = avatar.camera.resized(256, 256)
motion = motion_of(driven, source.fps, "a video")


def frames():
    for t, picture in enumerate(pictures):
        drawn = look.render(motion.expr[t][None], motion.pose[t][None], camera, torch.ones(3))[0]
        yield np.hstack([beside(picture, 256), to_uint8(drawn)])


write_video(OUT / "driven.mp4", frames(), motion.fps)

# %% [markdown]
# ## Take the motion elsewhere
# Live Link Face's CSV holds ARKit's blendshapes, which game engines and animation tools read.

# %%
write_take(OUT / "driven.csv", motion)
print(OUT / "driven.mp4", OUT / "driven.csv")
