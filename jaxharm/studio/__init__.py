"""The studio: a local web app for pictures, a page for raters, and the HTTP service below both.

`service` is the API for programs (`jaxharm serve`), `scenes` and `routes` the studio's own back end,
`study` the raters' page; `static/` holds the pages, which load nothing from elsewhere. Pictures stay
in memory; nothing but votes is written to a disk.
"""
