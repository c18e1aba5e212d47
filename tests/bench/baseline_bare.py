"""The floor: the same work without Typer."""

import hashlib
import os

import psycopg2
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

conn = psycopg2.connect(
    host=os.environ["BENCH_HOST"],
    port=os.environ["BENCH_PORT"],
    dbname="teslamate",
    user="teslamate",
    password=os.environ["BENCH_PASSWORD"],
)
with conn.cursor() as cursor:
    cursor.execute("select access from private.tokens")
    data = bytes(cursor.fetchone()[0])
key = hashlib.sha256(os.environ["BENCH_KEY"].encode()).digest()
token = AESGCM(key).decrypt(data[12:24], data[40:] + data[24:40], b"AES256GCM")
print(hashlib.sha256(token).hexdigest()[:12])
