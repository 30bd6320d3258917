/** PEM text into native certificates and keys. The caller frees them, best through {@link withCertificates}. */
import { allocate } from "../memory.ts";
import { ERR_LIB_PEM, PEM_R_NO_START_LINE } from "./constants.ts";
import { drainErrors, queuedError, clearErrors } from "./error-queue.ts";
import { libssl } from "./libssl.ts";
import { liveObjects } from "./live-objects.ts";
import { OpensslError } from "./openssl-error.ts";

/** Runs `use` over all certificates of a PEM text, in order, and frees them. Throws `OPENSSL_BAD_MATERIAL` on none, or a broken one. */
export function withCertificates(pem: string, what: string, use: (certificates: readonly number[]) => void): void {
  const ssl = libssl();
  const certificates: number[] = [];
  try {
    withPem(pem, (bio) => {
      for (;;) {
        const certificate = ssl.PEM_read_bio_X509(bio, 0, 0, 0);
        if (certificate === 0) break;
        liveObjects.temporaries++;
        certificates.push(certificate);
      }
      // The end of the text is an error too, of this one kind.
      const broken = drainErrors().find(
        ({ library, reason }) => library !== ERR_LIB_PEM || reason !== PEM_R_NO_START_LINE,
      );
      if (broken !== undefined)
        throw new OpensslError("OPENSSL_BAD_MATERIAL", `${what}: ${broken.text}`, { reason: broken.reason });
    });
    if (certificates.length === 0) throw new OpensslError("OPENSSL_BAD_MATERIAL", `${what}: no PEM certificate`);
    use(certificates);
  } finally {
    for (const certificate of certificates) {
      ssl.X509_free(certificate);
      liveObjects.temporaries--;
    }
  }
}

/** Runs `use` over the private key of a PEM text and frees it. Throws `OPENSSL_BAD_MATERIAL`. */
export function withPrivateKey(pem: string, use: (key: number) => void): void {
  const ssl = libssl();
  withPem(pem, (bio) => {
    // An empty password: without one OpenSSL would ask the terminal about an encrypted key.
    const key = ssl.PEM_read_bio_PrivateKey(bio, 0, 0, "");
    if (key === 0) throw queuedError("OPENSSL_BAD_MATERIAL", "private key");
    liveObjects.temporaries++;
    try {
      use(key);
    } finally {
      ssl.EVP_PKEY_free(key);
      liveObjects.temporaries--;
    }
  });
}

function withPem(pem: string, use: (bio: number) => void): void {
  const ssl = libssl();
  const text = Buffer.from(pem);
  const memory = allocate(Math.max(1, text.length));
  memory.set(text);
  clearErrors();
  const bio = ssl.BIO_new_mem_buf(memory, text.length);
  if (bio === 0) throw queuedError("OPENSSL_BAD_MATERIAL", "BIO_new_mem_buf");
  liveObjects.temporaries++;
  try {
    use(bio);
  } finally {
    ssl.BIO_free(bio);
    liveObjects.temporaries--;
    memory.fill(0);
    text.fill(0);
  }
}
