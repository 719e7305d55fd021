"""The tables of a store: `overview`, `clock`, `all_models`, `differences`, `all_tasks`, `origin`.

Each makes a `render.Table`, which `render` writes for the terminal and as Markdown, LaTeX and CSV.
"""
