"""TLS in front of a server of the lab that was built without it; its certificate is good for the loopback address."""
from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from . import places


def certificate(folder, address=places.LOOPBACK):
    """Write a self-signed certificate for an address and its key; returns the path of both in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = folder / ("front-%s.pem" % address)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    places.secret_file(path, (secret + made.public_bytes(serialization.Encoding.PEM)).decode())
    return path


@contextlib.contextmanager
def tls_front(port, certificate_file):
    """Yield the port of a listener that decrypts and passes everything on to ``port``."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate_file)
    with socket.create_server((places.LOOPBACK, 0)) as listener:
        threading.Thread(target=_serve, args=(listener, context, port), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _serve(listener, context, port):
    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=_pass_on, args=(listener.accept()[0], context, port), daemon=True).start()


def _pass_on(plain, context, port):
    # Each side only writes when it was asked: one thread per connection is enough, question by question.
    with contextlib.suppress(OSError), contextlib.ExitStack() as both:
        front = both.enter_context(context.wrap_socket(plain, server_side=True))
        back = both.enter_context(socket.create_connection((places.LOOPBACK, port)))
        back.settimeout(0.05)
        while data := front.recv(1 << 16):
            back.sendall(data)
            with contextlib.suppress(TimeoutError):
                while answer := back.recv(1 << 16):
                    front.sendall(answer)
