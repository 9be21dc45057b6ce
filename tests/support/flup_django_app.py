"""A Django project in one file, as it is served by flup; `python flup_django_app.py SOCKET`."""

import hashlib
import sys

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import path

settings.configure(
    SECRET_KEY="only for tests",
    ALLOWED_HOSTS=["localhost"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.common.CommonMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)


def hello(request, name):
    return HttpResponse(f"Hello {name}, {request.GET.get('greeting', '')}")


def form(request):
    request.session["name"] = request.POST["name"]
    return redirect("remembered")


def remembered(request):
    return HttpResponse(request.session.get("name", "nobody"))


def upload(request):
    file = request.FILES["file"]
    return HttpResponse(f"{file.name} {hashlib.sha256(file.read()).hexdigest()}")


def json(request):
    import json

    return JsonResponse({"doubled": json.loads(request.body)["number"] * 2})


def stream(request):
    return StreamingHttpResponse((f"{number}\n" for number in range(100)), content_type="text/plain")


def file(request):
    return FileResponse(open(__file__, "rb"), content_type="text/plain")


def forbidden(request):
    raise PermissionDenied


def boom(request):
    raise RuntimeError("inner <text>")


urlpatterns = [
    path("hello/<name>", hello),
    path("form", form),
    path("remembered", remembered, name="remembered"),
    path("upload", upload),
    path("json", json),
    path("stream", stream),
    path("file", file),
    path("forbidden", forbidden),
    path("boom", boom),
]

app = get_wsgi_application()

if __name__ == "__main__":
    from flup.server.fcgi_fork import WSGIServer

    WSGIServer(app, bindAddress=sys.argv[1], maxChildren=2).run()
