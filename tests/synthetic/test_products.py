"""Made-up products: each has its own look, and its flaws are marked."""

import numpy as np

from fastflow_lite.synthetic.layers import MaterialPictures
from fastflow_lite.synthetic.outlines import Outline
from fastflow_lite.synthetic.products import Product

OUTLINES = [Outline(k) for k in range(9)]


def test_a_product_is_the_same_thing_in_each_picture(tiles: MaterialPictures) -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        product = Product(rng, len(tiles), len(OUTLINES))
        good = [product.picture(rng, tiles, OUTLINES, 48, 0) for _ in range(4)]
        allowed = {product.ground, *(part.material for part in product.parts)}
        for scene in good:
            assert scene.image.shape == (48, 48, 3)
            assert 0 <= scene.image.min() <= scene.image.max() <= 1
            assert set(np.unique(scene.material)) <= allowed
            assert not scene.flaw.any()
        assert np.abs(good[0].image - good[1].image).max() > 0.05, "pictures of a product do not differ"


def test_flaws_of_products_are_marked_where_the_picture_changed(tiles: MaterialPictures) -> None:
    marked = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        product = Product(rng, len(tiles), len(OUTLINES))
        state = rng.bit_generator.state
        spoilt = product.picture(rng, tiles, OUTLINES, 48, 1)
        rng.bit_generator.state = state
        rng.choice(12, 1)  # the kind of the flaw, which good pictures have none of; pose and light are drawn after it
        good = product.picture(rng, tiles, OUTLINES, 48, 0)
        difference = np.abs(spoilt.image - good.image).max(axis=2)
        assert (difference[spoilt.flaw] > 0.059).all()
        assert (difference[~spoilt.flaw] < 0.061).all()
        marked.append(spoilt.flaw.mean())
    assert np.mean(np.array(marked) > 0) > 0.6
    assert np.mean(np.array(marked) > 0.5) < 0.05, "flaws were local, and the rest of the picture stayed"
