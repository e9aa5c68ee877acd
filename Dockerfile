# syntax=docker/dockerfile:1
# The image of each service and worker. PROGRAM names one, as docker-compose.yml does:
#     docker build --build-arg PROGRAM=approval -t placet/approval:0.1.0 .
ARG PROGRAM

# Wheels of the whole workspace, the same for every program.
FROM python:3.11.15-slim-trixie AS wheels
ENV PIP_CACHE_DIR=/var/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements.txt ./
COPY deploy/image_pins.py deploy/
COPY protos protos
COPY libs libs
COPY services services
COPY workers workers
# The tools that pack wheels and generate the contracts' stubs.
RUN --mount=type=cache,target=/var/cache/pip \
    python deploy/image_pins.py --build > build.txt \
    && pip install --require-hashes -r build.txt
RUN pip wheel --no-deps --no-build-isolation --no-index --wheel-dir wheels ./libs/* ./services/* ./workers/*

# What the program needs, by version and hash; then Placet's own packages, which can bring nothing else along.
FROM wheels AS installed
ARG PROGRAM
RUN --mount=type=cache,target=/var/cache/pip \
    python deploy/image_pins.py "placet-$PROGRAM" > run.txt \
    && python -m venv --without-pip /opt/placet \
    && pip --python /opt/placet install --require-hashes -r run.txt \
    && pip --python /opt/placet install --no-index --find-links wheels "placet-$PROGRAM" \
    && pip --python /opt/placet check

FROM python:3.11.15-slim-trixie AS runtime
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin placet \
    && install --directory --owner=placet --group=placet --mode=0700 /run/placet /var/lib/placet-witness
COPY --from=installed /opt/placet /opt/placet
ENV PATH=/opt/placet/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001

FROM runtime AS approval
EXPOSE 7400
ENV PLACET_APPROVAL_LISTEN=0.0.0.0:7400
HEALTHCHECK --interval=30s --timeout=5s --retries=3 --start-period=60s --start-interval=2s \
    CMD ["python", "-m", "placet_rpc.probe", "127.0.0.1:7400"]
CMD ["python", "-m", "placet_approval"]

FROM runtime AS audit
EXPOSE 7401
ENV PLACET_AUDIT_LISTEN=0.0.0.0:7401
HEALTHCHECK --interval=30s --timeout=5s --retries=3 --start-period=60s --start-interval=2s \
    CMD ["python", "-m", "placet_rpc.probe", "127.0.0.1:7401"]
CMD ["python", "-m", "placet_audit"]

FROM runtime AS decision
EXPOSE 7402
ENV PLACET_DECISION_LISTEN=0.0.0.0:7402
HEALTHCHECK --interval=30s --timeout=5s --retries=3 --start-period=60s --start-interval=2s \
    CMD ["python", "-m", "placet_rpc.probe", "127.0.0.1:7402"]
CMD ["python", "-m", "placet_decision"]

FROM runtime AS notification
EXPOSE 7403
ENV PLACET_NOTIFICATION_LISTEN=0.0.0.0:7403
HEALTHCHECK --interval=30s --timeout=5s --retries=3 --start-period=60s --start-interval=2s \
    CMD ["python", "-m", "placet_rpc.probe", "127.0.0.1:7403"]
CMD ["python", "-m", "placet_notification"]

FROM runtime AS witness
# For a volume, which takes its owner and mode from here.
ENV PLACET_WITNESS_FOLDER=/var/lib/placet-witness
# Unhealthy: it alarms. Its output says what about, and it goes on.
HEALTHCHECK --interval=10s --timeout=5s --retries=1 --start-period=60s --start-interval=1s \
    CMD ["python", "-m", "placet_witness.status", "/var/lib/placet-witness"]
CMD ["python", "-m", "placet_witness"]

FROM runtime AS worker
# Written once the worker polls. The folder is for a tmpfs, so that a new start begins without the file.
ENV PLACET_READY_FILE=/run/placet/ready
HEALTHCHECK --interval=10s --timeout=5s --retries=3 --start-period=60s --start-interval=1s \
    CMD ["test", "-e", "/run/placet/ready"]

FROM worker AS worker-default
CMD ["python", "-m", "placet_worker_default"]

FROM worker AS worker-ml
CMD ["python", "-m", "placet_worker_ml"]

FROM worker AS worker-openai
CMD ["python", "-m", "placet_worker_openai"]

FROM $PROGRAM
