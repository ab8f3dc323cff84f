"""Metrics of anomaly detection, each exact, and the bootstrap that says how sure they are."""

from __future__ import annotations

from fracgen_eval.metrics.aupro import FPR_LIMIT as FPR_LIMIT
from fracgen_eval.metrics.aupro import aupro as aupro
from fracgen_eval.metrics.aupro import aupro_of as aupro_of
from fracgen_eval.metrics.auroc import auroc as auroc
from fracgen_eval.metrics.auroc import pixel_auroc as pixel_auroc
from fracgen_eval.metrics.auroc import pixel_auroc_of as pixel_auroc_of
from fracgen_eval.metrics.counts import PixelCounts as PixelCounts
from fracgen_eval.metrics.counts import Region as Region
from fracgen_eval.metrics.counts import Regions as Regions
from fracgen_eval.metrics.counts import count_pixels as count_pixels
from fracgen_eval.metrics.ranking import average_precision as average_precision
from fracgen_eval.metrics.ranking import check_finite as check_finite
from fracgen_eval.metrics.ranking import check_ranking as check_ranking
from fracgen_eval.metrics.ranking import f1_max as f1_max
from fracgen_eval.metrics.segmentation import normal_threshold as normal_threshold
from fracgen_eval.metrics.segmentation import segmentation_f1 as segmentation_f1
from fracgen_eval.metrics.threshold import best_f1_threshold as best_f1_threshold
from fracgen_eval.metrics.threshold import predicted_mask as predicted_mask
