"""A Flask application as it is written for flup; `python flup_flask_app.py SOCKET`."""

import hashlib
import sys

from flask import Flask, Response, abort, redirect, request, send_file, session, url_for

app = Flask(__name__)
app.secret_key = "only for tests"


@app.route("/hello/<name>")
def hello(name):
    return f"Hello {name}, {request.args.get('greeting', '')}"


@app.route("/form", methods=["POST"])
def form():
    session["name"] = request.form["name"]
    return redirect(url_for("remembered"))


@app.route("/remembered")
def remembered():
    return session.get("name", "nobody")


@app.route("/upload", methods=["POST"])
def upload():
    file = request.files["file"]
    return f"{file.filename} {hashlib.sha256(file.read()).hexdigest()}"


@app.route("/json", methods=["POST"])
def json():
    return {"doubled": request.get_json()["number"] * 2}


@app.route("/stream")
def stream():
    return Response((f"{number}\n" for number in range(100)), mimetype="text/plain")


@app.route("/file")
def file():
    return send_file(__file__, mimetype="text/plain")


@app.route("/forbidden")
def forbidden():
    abort(403)


@app.route("/boom")
def boom():
    raise RuntimeError("inner <text>")


if __name__ == "__main__":
    from flup.server.fcgi import WSGIServer

    WSGIServer(app, bindAddress=sys.argv[1]).run()
