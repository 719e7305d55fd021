"""The tables of a store, a file each; `of_task` has those of a task in their order.

Each makes a `render.Table`, which `render` writes as Markdown, LaTeX and CSV.
"""
