"""One module a page, each with ``show(here)``; :mod:`ui.pages` lists them."""
