//! Private keys in the forms in which they are found, to PKCS#8, the one that TLS takes.

use pkcs8::der::Encode;
use pkcs8::der::asn1::{AnyRef, ObjectIdentifier};
use pkcs8::{AlgorithmIdentifierRef, PrivateKeyInfo};
use sec1::EcPrivateKey;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ELLIPTIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// The private key of a PEM file, as the PEM of a PKCS#8 key: from PKCS#8 itself, PKCS#1 (`RSA PRIVATE KEY`)
/// or SEC1 (`EC PRIVATE KEY`). The failure is for people, and follows the file's name.
pub(super) fn to_pkcs8(file: &[u8]) -> Result<String, String> {
    let blocks = pem::parse_many(file).map_err(|error| format!("is no PEM file: {error}"))?;
    let key = blocks.iter().find(|block| block.tag().ends_with("PRIVATE KEY"));
    let key = key.ok_or("holds no private key")?;
    let encrypted = key.headers().get("Proc-Type").is_some_and(|kind| kind.contains("ENCRYPTED"));
    if encrypted || key.tag() == "ENCRYPTED PRIVATE KEY" {
        return Err("is encrypted; write it without a password, e.g. by `openssl pkey -in … -out …`".into());
    }
    const DAMAGED: &str = "holds a damaged private key";
    let der = match key.tag() {
        "PRIVATE KEY" => key.contents().to_vec(),
        "RSA PRIVATE KEY" => {
            let algorithm = AlgorithmIdentifierRef { oid: RSA, parameters: Some(AnyRef::NULL) };
            PrivateKeyInfo::new(algorithm, key.contents()).to_der().map_err(|_| DAMAGED)?
        }
        "EC PRIVATE KEY" => {
            let inner = EcPrivateKey::try_from(key.contents()).map_err(|_| DAMAGED)?;
            let curve = inner.parameters.and_then(|parameters| parameters.named_curve());
            let curve =
                curve.ok_or("does not name its curve; convert it by `openssl pkcs8 -topk8 -nocrypt`")?;
            let algorithm = AlgorithmIdentifierRef { oid: ELLIPTIC, parameters: Some((&curve).into()) };
            PrivateKeyInfo::new(algorithm, key.contents()).to_der().map_err(|_| DAMAGED)?
        }
        other => return Err(format!("holds a key of a kind that is not supported ({other})")),
    };
    Ok(pem::encode(&pem::Pem::new("PRIVATE KEY", der)))
}
