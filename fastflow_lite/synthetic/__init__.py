"""Pictures drawn from formulas: the toy set, and the materials, scenes and products that backbones learn from.

Nothing here was photographed, so a course can hand it on. This room does not know backbones, data sets or models.
"""

__all__ = ["drawing", "materials", "products", "scenes", "toy"]
