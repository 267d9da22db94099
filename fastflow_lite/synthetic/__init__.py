"""Pictures drawn from formulas: the toy set, and the materials, scenes and products that backbones learn from.

No photograph is used, so the pictures may be passed on. This room does not know backbones, data sets or models.
"""

__all__ = [
    "drawing",
    "flaws",
    "formula_classes",
    "layers",
    "materials",
    "outlines",
    "products",
    "scenes",
    "toy",
    "toy_scenes",
]
