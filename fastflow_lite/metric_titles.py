"""The metrics that records hold: their names there, and their titles in tables and figures."""

METRIC_TITLES = {
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "aupro": "AUPRO",
    "image_ap": "image AP",
    "pixel_ap": "pixel AP",
    "pixel_iou": "pixel IoU",
    "pixel_iou_oracle": "pixel IoU (oracle)",
}
