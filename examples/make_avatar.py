# %% [markdown]
# # Make an avatar out of one photo
#
# A notebook as a script: run it whole, or cell by cell in an editor that knows `# %%`.
# The demo takes some ten minutes on two CPU cores. An interrupted build goes on where it stopped.

# %%
import json
import os
import subprocess
import sys
from pathlib import Path

from perse.avatar import Avatar
from perse.dataset import default_motion
from perse.viewer import save_image

OUT = Path(os.environ.get("PERSE_OUT", "runs/demo"))
PRESET = os.environ.get("PERSE_PRESET", "demo")  # tiny: a smoke test of a minute

# %% [markdown]
# ## Build
# The command, as in a shell: `perse build --portrait astronaut --out runs/demo`. A photo of your own takes the place of
# `--portrait astronaut`. (`perse.pipeline.build` is the same in Python; it starts processes, so a script must call it
# below `if __name__ == "__main__":`.)

# %%
command = [
    sys.executable,
    "-m",
    "perse.cli",
    "build",
    "--portrait",
    "astronaut",
    "--out",
    str(OUT),
    "--preset",
    PRESET,
]
subprocess.run(command, check=True)
metrics = json.loads((OUT / "metrics.json").read_text())
print({name: metrics[name] for name in ("psnr", "ssim", "lpips")})

# %% [markdown]
# ## What it has learned to wear

# %%
avatar = Avatar.load(OUT / "avatar")
for category in ("hair", "beard", "hat"):
    print(category, "-", "; ".join(avatar.learned(category)))

# %% [markdown]
# ## Dress it and draw it
# A look is made by words. The person keeps what is not named.

# %%
look = avatar.look(**{category: avatar.learned(category)[0] for category in ("hair", "beard")})
motion = default_motion()
frames = avatar.render(look, motion.expr[:1], motion.pose[:1], avatar.camera)  # [1, H, W, 3]
save_image(OUT / "dressed.png", frames[0])
print(OUT / "dressed.png")
