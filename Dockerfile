# syntax=docker/dockerfile:1

# Two images: `serve` answers, `train` also trains, for which it holds torch.
#
#   docker build --target serve --tag two-tower-rec:serve .
#   docker build --target train --tag two-tower-rec:train .

ARG PYTHON=3.11-slim

FROM python:${PYTHON} AS source
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY deploy/install.sh deploy/requirements-serve.txt deploy/
COPY index index
COPY retrieval retrieval

FROM source AS serve-packages
RUN --mount=type=cache,target=/root/.cache/pip deploy/install.sh /opt/rec serve

FROM source AS train-packages
# https://download.pytorch.org/whl/cu128 is one for graphics cards.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN --mount=type=cache,target=/root/.cache/pip deploy/install.sh /opt/rec train

# Nothing but /runs and /tmp is written, so that the file system may be read-only.
FROM python:${PYTHON} AS bare
RUN groupadd --gid 1000 rec \
    && useradd --uid 1000 --gid rec --no-create-home --home-dir /nonexistent rec \
    && install --directory --owner rec --group rec /runs
ENV PATH=/opt/rec/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 1000:1000
ENTRYPOINT ["rec"]

FROM bare AS train
COPY --from=train-packages /opt/rec /opt/rec
ENV NUMBA_CACHE_DIR=/tmp/numba
CMD ["--help"]

# The last one is what is built where no target is named.
FROM bare AS serve
COPY --from=serve-packages /opt/rec /opt/rec
EXPOSE 8000
# No proxy that the environment names is to be asked.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 CMD ["python", "-c", \
    "from urllib.request import ProxyHandler as P, build_opener as b; b(P({})).open('http://127.0.0.1:8000/health/ready', timeout=2)"]
CMD ["serve", "--run", "/runs/current", "--host", "0.0.0.0", "--keys", "/run/secrets/rec_keys"]
