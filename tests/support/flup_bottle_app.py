"""A Bottle application, served by Bottle's own adapter for flup; `python flup_bottle_app.py SOCKET`."""

import hashlib
import os
import sys

import bottle

app = bottle.Bottle()


@app.get("/hello/<name>")
def hello(name):
    return f"Hello {name}, {bottle.request.query.getunicode('greeting') or ''}"


@app.post("/form")
def form():
    bottle.response.set_cookie("name", bottle.request.forms.getunicode("name"), secret="only for tests")
    bottle.redirect("/remembered")


@app.get("/remembered")
def remembered():
    return bottle.request.get_cookie("name", secret="only for tests") or "nobody"


@app.post("/upload")
def upload():
    file = bottle.request.files["file"]
    return f"{file.raw_filename} {hashlib.sha256(file.file.read()).hexdigest()}"


@app.post("/json")
def json():
    return {"doubled": bottle.request.json["number"] * 2}


@app.get("/stream")
def stream():
    bottle.response.content_type = "text/plain"
    return (f"{number}\n" for number in range(100))


@app.get("/file")
def file():
    return bottle.static_file(os.path.basename(__file__), os.path.dirname(os.path.abspath(__file__)), "text/plain")


@app.get("/forbidden")
def forbidden():
    bottle.abort(403)


@app.get("/boom")
def boom():
    raise RuntimeError("inner <text>")


if __name__ == "__main__":
    bottle.run(app, server="flup", bindAddress=sys.argv[1], quiet=True)
