"""Writes a certificate for localhost (server.pem, server.key), signed by an authority that nobody knows (ca.pem).

Both are valid for 120 years. The authority's key is thrown away. Needs: pip install cryptography
"""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

FROM, TO = datetime.datetime(2020, 1, 1), datetime.datetime(2140, 1, 1)


def certificate(name, key, issuer, issuer_key, extensions):
    called = lambda name: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    serial = x509.random_serial_number()
    builder = x509.CertificateBuilder(called(issuer), called(name), key.public_key(), serial, FROM, TO)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


CA = "resnet-rs test authority"
ca_key, key = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
localhost = x509.SubjectAlternativeName([x509.DNSName("localhost")])
open("ca.pem", "wb").write(certificate(CA, ca_key, CA, ca_key, [(x509.BasicConstraints(True, None), True)]))
open("server.pem", "wb").write(certificate("localhost", key, CA, ca_key, [(localhost, False)]))
plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
open("server.key", "wb").write(key.private_bytes(serialization.Encoding.PEM, *plain))
