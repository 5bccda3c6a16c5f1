# seetell serve in a container, as a user without rights. docs/serve.md says how to run it.
FROM python:3.11-slim AS build
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN python -m venv /opt/seetell \
    && /opt/seetell/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt ".[serve,search]"

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/seetell --create-home seetell
COPY --from=build /opt/seetell /opt/seetell
# Every option of the command is a variable. A container's loopback is reached by nobody else. glibc would keep
# an arena of memory for each of many threads; two are enough, and keep less.
ENV PATH=/opt/seetell/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_ARENA_MAX=2 \
    SEETELL_HOST=0.0.0.0 \
    SEETELL_PORT=8000 \
    SEETELL_CACHE=/var/lib/seetell/cache
USER 10001
WORKDIR /var/lib/seetell
EXPOSE 8000
# The answer to SIGTERM takes as long as the requests that were taken: `docker stop --time 70`.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --start-period=60s CMD \
    ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["seetell"]
CMD ["serve"]
