"""quantroll's main job on real parts, visibly: `python -m demo up`, `python -m demo down`."""
