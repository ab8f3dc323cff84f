#!/usr/bin/env bash
# Anomalib 2.7.0: the learning rate of EfficientAd, documented to fall to a tenth at 95 % of the training, never falls.
# `configure_optimizers` counts 95 % of the steps, and hands Lightning the schedule without `"interval": "step"`, so
# that Lightning moves it on once an epoch: it would fall after as many epochs as it should after steps.
# Seen: 100 steps in 10 epochs -> a schedule of 95, and a learning rate of 1e-4 in the last step; 1e-5 is documented.
# The optimiser and schedule are EfficientAd's own, on two layers in the place of student and autoencoder.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q anomalib==2.7.0 timm==1.0.31 torch==2.11.0 torchvision==0.26.0
venv/bin/python -W ignore - <<'P' 2>/dev/null
import importlib.metadata

import torch
from anomalib.models import EfficientAd
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Probe(LightningModule):
    configure_optimizers = EfficientAd.configure_optimizers

    def __init__(self):
        super().__init__()
        self.model = nn.ModuleDict({"student": nn.Linear(4, 4), "ae": nn.Linear(4, 4)})
        self.model.student, self.model.ae = self.model["student"], self.model["ae"]
        self.lr, self.weight_decay, self.rates = 1e-4, 1e-5, []

    def training_step(self, batch, _):
        self.rates.append(self.optimizers().param_groups[0]["lr"])
        return (self.model.student(batch[0]) - self.model.ae(batch[0])).square().mean()


probe = Probe()
data = DataLoader(TensorDataset(torch.randn(10, 4)), batch_size=1)
trainer = Trainer(max_steps=100, max_epochs=-1, accelerator="cpu", logger=False, enable_checkpointing=False,
                  enable_progress_bar=False, enable_model_summary=False)
trainer.fit(probe, data)
schedule = probe.lr_schedulers()
print("anomalib", importlib.metadata.version("anomalib"), "steps:", len(probe.rates), "schedule falls after:",
      schedule.step_size, "learning rate of the first and last step:", probe.rates[0], probe.rates[-1])
assert len(probe.rates) == 100 and schedule.step_size == 95
assert probe.rates[-1] == probe.rates[0] == 1e-4, "the learning rate falls now"
P
