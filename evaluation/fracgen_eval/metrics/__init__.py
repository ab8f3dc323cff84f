"""Metrics of anomaly detection, each exact, and the bootstrap that says how sure they are."""

from __future__ import annotations

from fracgen_eval.metrics.counts import PixelCounts as PixelCounts
from fracgen_eval.metrics.counts import Region as Region
from fracgen_eval.metrics.counts import Regions as Regions
from fracgen_eval.metrics.counts import count_pixels as count_pixels
from fracgen_eval.metrics.image import auroc as auroc
from fracgen_eval.metrics.image import check_finite as check_finite
from fracgen_eval.metrics.image import check_ranking as check_ranking
from fracgen_eval.metrics.image import image_metrics as image_metrics
from fracgen_eval.metrics.pixel import SPRO_LIMIT as SPRO_LIMIT
from fracgen_eval.metrics.pixel import aupimo as aupimo
from fracgen_eval.metrics.pixel import aupro as aupro
from fracgen_eval.metrics.pixel import best_f1_threshold as best_f1_threshold
from fracgen_eval.metrics.pixel import normal_threshold as normal_threshold
from fracgen_eval.metrics.pixel import pixel_auroc as pixel_auroc
from fracgen_eval.metrics.pixel import pixel_metrics as pixel_metrics
from fracgen_eval.metrics.pixel import predicted_mask as predicted_mask
from fracgen_eval.metrics.pixel import segmentation_f1 as segmentation_f1
