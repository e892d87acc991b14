# syntax=docker/dockerfile:1
# A server of an index, built without a network:
#
#     python -m pip wheel --wheel-dir wheels '.[serve,lexical]'
#     docker build --network=none --tag nirank .
#     docker run --publish 8000:8000 --env NIRANK_TOKEN=... --volume ./shop:/data/shop:ro nirank shop --read-only
#
# The base image has to be there already. Other pipelines want other extras, in both places.
FROM python:3.11-slim

RUN --mount=type=bind,source=wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels 'nirank[serve,lexical]'

RUN useradd --create-home nirank && mkdir /data && chown nirank /data
USER nirank
WORKDIR /data
# Models are not looked for on the web; indexes of collections go where the user may write.
ENV HF_HUB_OFFLINE=1 NIRANK_CACHE=/home/nirank/cache

EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=3)"]
ENTRYPOINT ["nirank", "serve", "--host", "0.0.0.0"]
CMD ["--help"]
