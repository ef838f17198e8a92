//! TLS on loopback: certificates made, exchanged under live connections, and checked.

mod harness;

use std::{
    fs,
    io::Read,
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use harness::{Node, PATIENCE, listener, to};
use offhook_net::{
    TransmitError,
    stream::{PeerIdentity, StreamLimits, StreamSettings},
    tls::{
        CERTIFICATE_FILE, CertificateFiles, ClientTls, ClientTlsConfig, KEY_FILE, ServerTls, TlsError,
        find_or_make,
    },
};
use offhook_sip::transport::{Destination, Transport};
use tempfile::TempDir;

const MESSAGE: &[u8] = b"MESSAGE sip:a@b SIP/2.0\r\nContent-Length: 0\r\n\r\n";

fn names() -> Vec<String> {
    vec!["sip.example.org".to_owned(), "127.0.0.1".to_owned()]
}

fn made() -> (TempDir, CertificateFiles) {
    let directory = TempDir::new().unwrap();
    let (files, new) = find_or_make(directory.path(), &names()).unwrap();
    assert!(new);
    (directory, files)
}

fn server(files: &CertificateFiles, limits: StreamLimits) -> (Node, SocketAddr, Arc<ServerTls>) {
    let mut node = Node::new();
    let tls = Arc::new(ServerTls::load(files.clone()).unwrap());
    let streams = node.streams(StreamSettings { limits, ..StreamSettings::default() });
    let mut config = listener(1, Transport::Tls);
    config.tls = Some(Arc::clone(&tls));
    let bound = streams.listen(&config).unwrap().bound;
    (node, bound, tls)
}

/// A node that believes only the authority in `root`.
fn client(root: &Path) -> Node {
    let config = ClientTlsConfig {
        extra_roots: vec![root.to_path_buf()],
        only_extra_roots: true,
        ..ClientTlsConfig::default()
    };
    let mut node = Node::new();
    let client_tls = Some(ClientTls::new(&config).unwrap());
    node.streams(StreamSettings { client_tls, ..StreamSettings::default() });
    node
}

fn over_tls(remote: SocketAddr) -> Destination {
    to(1, Transport::Tls, "0.0.0.0:0".parse().unwrap(), remote)
}

fn named(name: &str) -> PeerIdentity {
    PeerIdentity { name: Some(name.into()), verify: true }
}

/// Goal: SIGHUP with a new certificate changes what new handshakes show and touches no live connection. Method: one client
/// believes only the old certificate and connects before; another believes only the new one and connects after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_shown_to_new_connections_and_live_ones_go_on() {
    let (directory, files) = made();
    let old = directory.path().join("old.crt");
    fs::copy(&files.certificate, &old).unwrap();
    let (mut server, bound, tls) = server(&files, StreamLimits::default());
    let mut before = client(&files.certificate);
    before.io.expect_peer(bound, named("sip.example.org"));
    before.io.transmit(&over_tls(bound), Bytes::from_static(MESSAGE), 1);
    let (live, bytes) = server.received();
    assert_eq!(bytes, MESSAGE);
    assert!(!tls.reload_if_changed().unwrap(), "nothing was written since");

    let (_other, renewed) = made();
    fs::copy(&renewed.key, &files.key).unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Mismatch { .. })), "the key does not fit yet");
    fs::copy(&renewed.certificate, &files.certificate).unwrap();
    tls.reload().unwrap();
    assert!(!tls.reload_if_changed().unwrap(), "what was just read is no change");

    let mut after = client(&renewed.certificate);
    after.io.transmit(&over_tls(bound), Bytes::from_static(MESSAGE), 1);
    server.received();
    server.io.transmit(&Destination::Flow(live), Bytes::from_static(MESSAGE), 2);
    assert_eq!(before.received().1, MESSAGE, "the old connection lives");

    let mut outdated = client(&old);
    outdated.io.transmit(&over_tls(bound), Bytes::from_static(MESSAGE), 3);
    assert_eq!(outdated.failed(3), TransmitError::Handshake, "nobody is shown the old one any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_whom_we_expect_gets_no_message() {
    let (_directory, files) = made();
    let (_server, bound, _) = server(&files, StreamLimits::default());
    let (_other, stranger) = made();

    let mut wrong_name = client(&files.certificate);
    wrong_name.io.expect_peer(bound, named("other.example.org"));
    wrong_name.io.transmit(&over_tls(bound), Bytes::from_static(MESSAGE), 1);
    assert_eq!(wrong_name.failed(1), TransmitError::Handshake);

    let mut wrong_authority = client(&stranger.certificate);
    wrong_authority.io.transmit(&over_tls(bound), Bytes::from_static(MESSAGE), 2);
    assert_eq!(wrong_authority.failed(2), TransmitError::Handshake);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_marked_insecure_is_believed_whatever_it_shows() {
    let (_directory, files) = made();
    let (mut server, bound, _) = server(&files, StreamLimits::default());
    let (_other, stranger) = made();
    let mut client = client(&stranger.certificate);
    client.io.expect_peer(bound, PeerIdentity { name: None, verify: false });
    client.io.transmit(&over_tls(bound), Bytes::from_static(MESSAGE), 1);
    assert_eq!(server.received().1, MESSAGE);
}

/// RFC 5923 §5: a connection proved for one name says nothing about another at the same address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_proved_for_one_name_is_not_used_for_another() {
    let (_directory, files) = made();
    let (mut server, bound, _) = server(&files, StreamLimits::default());
    let mut client = client(&files.certificate);
    client.io.expect_peer(bound, named("sip.example.org"));
    client.io.transmit(&over_tls(bound), Bytes::from_static(MESSAGE), 1);
    server.received();
    client.io.expect_peer(bound, named("other.example.org"));
    client.io.transmit(&over_tls(bound), Bytes::from_static(MESSAGE), 2);
    assert_eq!(client.failed(2), TransmitError::Handshake);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_speaks_tls_is_dropped_in_time() {
    let (_directory, files) = made();
    let limits = StreamLimits { handshake_timeout: Duration::from_millis(30), ..StreamLimits::default() };
    let (mut node, bound, _) = server(&files, limits);
    let mut silent = TcpStream::connect(bound).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0);
    node.until_counted(|counters| &counters.handshake_timeouts, 1);
}

#[test]
fn the_first_start_makes_a_key_that_only_its_owner_reads_and_the_second_keeps_it() {
    let (directory, files) = made();
    assert_eq!(fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
    let key = fs::read(&files.key).unwrap();
    let (again, new) = find_or_make(directory.path(), &names()).unwrap();
    assert!(!new && again == files && fs::read(&files.key).unwrap() == key);
    fs::remove_file(&files.certificate).unwrap();
    assert!(!find_or_make(directory.path(), &names()).unwrap().1, "a lone key is never written over");
}

#[test]
fn an_error_names_the_file_and_what_to_do() {
    let (directory, files) = made();
    let missing = CertificateFiles { certificate: directory.path().join("none.crt"), ..files.clone() };
    let error = ServerTls::load(missing).unwrap_err();
    assert!(error.to_string().contains("none.crt") && error.hint().contains("check the path"), "{error}");

    let empty = directory.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let error =
        ServerTls::load(CertificateFiles { certificate: empty.clone(), ..files.clone() }).unwrap_err();
    assert!(matches!(&error, TlsError::NoCertificate { path } if *path == empty), "{error}");
    let error = ServerTls::load(CertificateFiles { key: empty.clone(), ..files.clone() }).unwrap_err();
    assert!(matches!(&error, TlsError::NoKey { path } if *path == empty), "{error}");

    let swapped = CertificateFiles { certificate: files.key.clone(), key: files.certificate.clone() };
    assert!(matches!(ServerTls::load(swapped), Err(TlsError::NoCertificate { .. })));
    assert_eq!((CERTIFICATE_FILE, KEY_FILE), ("sip.crt", "sip.key"));
}
