"""The containers: made of the images, on a network that leads nowhere, and reached over SSH."""
from __future__ import annotations

import hashlib
import io
import json
import secrets
import shutil
import subprocess
import tarfile
import time

import docker

from .. import places
from . import API_PORT, DATABASE, FACTS, FOLDER, IMAGES_OF, LABEL, MODEL, MODEL_PORT, NETWORK, REDIS, SERVERS, STORE, USER, images

_SSH_CONFIG = """Host *
  User {user}
  IdentityFile {folder}/key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  StrictHostKeyChecking yes
  ControlMaster auto
  ControlPersist 60
  ControlPath {sockets}/%C
"""


class Fleet:
    """The containers of one engine. :param client: a ``docker.DockerClient``."""

    def __init__(self, client):
        self.client = client

    def up(self, say=print):
        """Build what is missing, start everything anew, set it up; :data:`FACTS` then tells how to reach it. Returns the facts.

        There is no Letta database yet, and Letta's servers wait for one: :meth:`make_empty`, or a restore, brings both.
        """
        tags = images.build(self.client, say)
        self.down()
        FOLDER.mkdir(parents=True, exist_ok=True)
        facts = self._facts()
        try:
            self._network(facts["subnet"])
            for name in IMAGES_OF:
                self._start(name, tags[IMAGES_OF[name]], facts["addresses"])
            self._let_in(facts)
            self._configure(facts)
        except BaseException:
            self.down()
            raise
        places.secret_file(FACTS, json.dumps(facts, indent=1) + "\n")
        return facts

    def down(self):
        """Remove the containers with their volumes, the network, and the files that lead there; images stay."""
        close_connections()
        for container in self.client.containers.list(all=True, filters={"label": LABEL}):
            container.remove(force=True, v=True)
        for network in self.client.networks.list(filters={"label": LABEL}):
            network.remove()
        FACTS.unlink(missing_ok=True)
        shutil.rmtree(FOLDER / "ssh", ignore_errors=True)

    def run(self, name, *argv, user="root", env=None, workdir="/", given=None):
        """Run a command in a container; returns its output. :param given: a file's content that becomes its input.

        :raises RuntimeError: when it fails.
        """
        if given is not None:
            self.put(name, {"/var/tmp/given": (given, 0o600, user)})
            argv = ("sh", "-c", '"$@" < /var/tmp/given; code=$?; rm -f /var/tmp/given; exit $code', "sh", *argv)
        done = self.client.containers.get(name).exec_run(list(argv), user=user, environment=env, workdir=workdir)
        text = done.output.decode("utf-8", "replace")
        if done.exit_code:
            raise RuntimeError("%s on %s ended with %d:\n%s" % (argv[0], name, done.exit_code, text[-3000:]))
        return text

    def put(self, name, files):
        """Write files into a container, not below its /run and /tmp: {path: (text, mode, owner)}."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for path, (text, mode, _) in files.items():
                member = tarfile.TarInfo(path.lstrip("/"))
                content = text.encode()
                member.size, member.mode = len(content), mode
                archive.addfile(member, io.BytesIO(content))
        self.client.containers.get(name).put_archive("/", packed.getvalue())
        for path, (_, _, owner) in files.items():
            self.run(name, "chown", owner + ":", path)

    def kill(self, name):
        """End a container at once, with everything in it."""
        self.client.containers.get(name).kill("SIGKILL")

    def start(self, name):
        """Start a container again, and connect it again, where that is needed; returns when it can be reached."""
        container = self.client.containers.get(name)
        if NETWORK not in container.attrs["NetworkSettings"]["Networks"]:
            self.client.networks.get(NETWORK).connect(container, ipv4_address=load()["addresses"][name])
        if container.status != "running":
            container.start()
        self._await(name, "systemctl", "is-active", "--quiet", "ssh.service")
        # A network that is connected anew brings its way out again.
        self.run(name, "systemctl", "restart", "no-way-out.service")

    def cut_off(self, name):
        """Take a container off the network."""
        self.client.networks.get(NETWORK).disconnect(name, force=True)

    # -- inside ---------------------------------------------------------------------------------------------

    def _facts(self):
        subnet = _free_subnet()
        return {
            "subnet": subnet + ".0/24", "addresses": {name: "%s.%d" % (subnet, number) for number, name in enumerate(IMAGES_OF, 11)},
            "ssh_config": str(FOLDER / "ssh" / "config"), "db_password": secrets.token_urlsafe(12),
            "admin_password": secrets.token_urlsafe(12), "encryption_key": _encryption_key(),
        }  # fmt: skip

    def _network(self, subnet):
        # Internal: nothing in it can be led out, to production least of all.
        pools = docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet=subnet)])
        self.client.networks.create(NETWORK, driver="bridge", internal=True, ipam=pools, labels={LABEL: "network"})

    def _start(self, name, image, addresses):
        api = self.client.api
        host = api.create_host_config(
            binds=["/sys/fs/cgroup:/sys/fs/cgroup:rw"], security_opt=["seccomp=unconfined"], extra_hosts=addresses,
            # An engine without rules of the firewall gives even an internal network a route out, which the host itself removes; names of
            # elsewhere are asked of nobody.
            tmpfs={"/run": "", "/run/lock": "", "/tmp": ""}, cap_add=["NET_ADMIN"], dns=["127.0.0.1"],
        )  # fmt: skip
        host["CgroupnsMode"] = "host"
        wired = api.create_networking_config({NETWORK: api.create_endpoint_config(ipv4_address=addresses[name])})
        api.start(api.create_container(image, name=name, hostname=name, environment={"container": "docker"}, labels={LABEL: name},
                                       host_config=host, networking_config=wired, stop_signal="SIGRTMIN+3"))  # fmt: skip

    def _let_in(self, facts):
        """Make a key pair for this fleet, tell every host of it, and note every host's own key."""
        folder = FOLDER / "ssh"
        folder.mkdir(mode=0o700)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
        public = (folder / "key.pub").read_text(encoding="ascii")
        known = []
        for name, address in facts["addresses"].items():
            self._await(name, "systemctl", "is-active", "--quiet", "ssh.service")
            self.put(name, {"/home/%s/.ssh/authorized_keys" % USER: (public, 0o600, USER)})
            kind, key = self.run(name, "cat", "/etc/ssh/ssh_host_ed25519_key.pub").split()[:2]
            known.append("%s,%s %s %s\n" % (name, address, kind, key))
        (folder / "known_hosts").write_text("".join(known), encoding="ascii")
        lines = ["Host %s\n  HostName %s\n" % pair for pair in facts["addresses"].items()]
        text = _SSH_CONFIG.format(user=USER, folder=folder, sockets=_sockets()) + "".join(lines)
        (folder / "config").write_text(text, encoding="utf-8")

    def _await(self, name, *argv, seconds=60):
        def answers():
            return self.client.containers.get(name).exec_run(list(argv)).exit_code == 0

        if not places.wait_for(answers, seconds, 0.2):
            said = self.client.containers.get(name).logs(tail=20).decode("utf-8", "replace")
            raise RuntimeError("%s: `%s` is not so after %d s: %s" % (name, " ".join(argv), seconds, said))

    def _configure(self, facts):
        """Roles of the database, the environment of Letta's servers, the way from the database host to the store."""
        self._await(DATABASE, "pg_isready", "--quiet")
        roles = ("CREATE ROLE letta LOGIN PASSWORD '%s'; CREATE ROLE letta_admin SUPERUSER LOGIN PASSWORD '%s';"
                 % (facts["db_password"], facts["admin_password"]))  # fmt: skip
        self.run(DATABASE, "psql", "-qX", "-v", "ON_ERROR_STOP=1", user="postgres", given=roles)
        text = "".join("%s=%s\n" % pair for pair in environment(facts).items())
        # A server that does not find its models when it starts knows none.
        self._await(MODEL, "curl", "--silent", "--fail", "--output", "/dev/null", "http://127.0.0.1:%d/v1/models" % MODEL_PORT)
        for name in SERVERS:
            self.put(name, {"/etc/letta/letta.env": (text, 0o600, "root")})
            self.run(name, "systemctl", "enable", "letta.service")
        self.run(DATABASE, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/etc/letta-store-key")
        public = self.run(DATABASE, "cat", "/etc/letta-store-key.pub")
        self.put(STORE, {"/home/letta/.ssh/authorized_keys": (public, 0o600, "letta")})
        known = (FOLDER / "ssh" / "known_hosts").read_text(encoding="ascii")
        self.put(DATABASE, {"/etc/letta-store-known-hosts": (known, 0o644, "root")})

    def make_database(self, name):
        """Make a database as Letta's ``init.sql`` leaves it."""
        script = ("CREATE DATABASE {0} OWNER letta TEMPLATE template0;\n\\connect {0}\n"
                  "CREATE SCHEMA letta AUTHORIZATION letta;\nDROP SCHEMA public;\nALTER DATABASE {0} SET search_path TO letta;\n"
                  "CREATE EXTENSION vector WITH SCHEMA letta;\n")  # fmt: skip
        self.run(DATABASE, "psql", "-qX", "-v", "ON_ERROR_STOP=1", user="postgres", given=script.format(name))

    def make_empty(self, facts):
        """Make Letta's database by its own migrations, and start the servers."""
        self.make_database("letta")
        self.run(DATABASE, "/opt/letta/venv/bin/python", "-m", "alembic", "upgrade", "head", workdir="/opt/letta", env=environment(facts))
        self.start_servers()

    def start_servers(self):
        """Start Letta on both hosts; see :meth:`await_servers`."""
        for name in SERVERS:
            self.run(name, "systemctl", "start", "letta.service")

    def await_servers(self, seconds=120):
        """Wait until both servers answer a read. :raises RuntimeError:"""
        for name in SERVERS:
            url = "http://127.0.0.1:%d/v1/agents/?limit=1" % API_PORT
            self._await(name, "curl", "--silent", "--fail", "--output", "/dev/null", url, seconds=seconds)


def environment(facts):
    """Return the whole environment of a Letta server of the fleet."""
    static = "/opt/letta/venv/lib/python%s/site-packages/llama_index/core/_static" % images.PYTHON
    model = "http://fake-model.invalid/v1"
    return {
        "PATH": "/opt/letta/venv/bin:/usr/bin:/bin", "HOME": "/var/lib/letta", "LANG": "C.UTF-8",
        "LETTA_PG_URI": "postgresql://letta:%s@%s:5432/letta" % (facts["db_password"], DATABASE),
        "LETTA_REDIS_HOST": REDIS, "LETTA_REDIS_PORT": "6379", "LETTA_ENCRYPTION_KEY": facts["encryption_key"],
        "LETTA_USE_UVLOOP": "true", "TOOL_EXEC_DIR": "~/tool_execution", "SSL_CERT_FILE": "/opt/letta/authority.pem",
        "TIKTOKEN_CACHE_DIR": static + "/tiktoken_cache", "NLTK_DATA": static + "/nltk_cache",
        "OPENAI_API_KEY": "fake-key-of-the-lab", "OPENAI_BASE_URL": model, "OPENAI_API_BASE": model,
        "HTTP_PROXY": "http://%s:%d" % (MODEL, MODEL_PORT), "NO_PROXY": "127.0.0.1,localhost",
    }  # fmt: skip


def load():
    """Return the facts of the running fleet. :raises FileNotFoundError: when there is none."""
    return json.loads(FACTS.read_text(encoding="utf-8"))


def close_connections():
    """End the lasting SSH connections to the fleet."""
    for socket in _sockets().glob("*"):
        subprocess.run(["ssh", "-O", "exit", "-o", "ControlPath=%s" % socket, "nobody"], check=False, capture_output=True)
    shutil.rmtree(_sockets(), ignore_errors=True)


def _encryption_key():
    """Return the key of this checkout: what was filled once is under it."""
    path = FOLDER / "encryption-key"
    if not path.exists():
        places.secret_file(path, secrets.token_urlsafe(24))
    return path.read_text(encoding="ascii")


def _sockets():
    # Paths of sockets are short.
    folder = places.shared_folder() / ("cp-%s" % hashlib.sha256(str(FOLDER.resolve()).encode()).hexdigest()[:6])
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _free_subnet():
    """Return the first three numbers of a network that this machine has no address in."""
    taken = subprocess.run(["ip", "-4", "-o", "addr"], check=True, capture_output=True, text=True).stdout
    start = int(time.time()) % 200
    return next("10.214.%d" % number for number in range(start, 255) if "10.214.%d." % number not in taken)
