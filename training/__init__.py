"""Training of the shipped models, on two CPU cores: `training.run_all` runs the stages in order.

- `training.data`: drawings, figures and solids, their captions, maps and latents;
- `training.optim`: optimizers, the two training loops, checkpoints;
- `training.judges`: networks that say what a picture shows, never shipped;
- `training.stages`: what is shipped, one stage a file;
- `training.evaluation`: figures on what was shipped.

Each imports only from what stands before it in this list.
"""
