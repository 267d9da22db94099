"""The map of the course holds every notebook, and its routes are known ones."""

from pathlib import Path

from fastflow_lite.figures import course_map

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def test_every_notebook_is_on_the_map() -> None:
    numbers = {path.name.split("_")[0] for path in NOTEBOOKS.glob("*_*.ipynb")}
    assert len(numbers) > 10 and numbers <= set(course_map.PLACES)


def test_no_two_notebooks_share_a_place_and_routes_name_known_ones() -> None:
    places = [place[:2] for place in course_map.PLACES.values()]
    assert len(places) == len(set(places))
    assert all(set(numbers) <= set(course_map.PLACES) for _, numbers in course_map.ROUTES.values())
