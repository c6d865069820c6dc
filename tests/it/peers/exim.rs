//! Exim with a configuration and a spool of its own; `appendfile` delivers everything to one maildir.
//!
//! Exim knows itself by the account of Debian's package; `nss_wrapper` shows it one, and this system's accounts stay as they
//! are.

use super::peer::{Ground, Peer, program};

/// Refuses the local part `unknown`, and defers all mail for `later` while there is a file `greylist` in its folder.
pub(super) async fn start() -> Peer {
    let ground = Ground::new("mail");
    ground.directory("spool");
    ground.directory("logs");
    let account = ground.account();
    ground.file(
        "passwd",
        &format!(
            "root:x:0:0::/:/bin/sh\nDebian-exim:x:{account}:{account}::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
        ),
    );
    ground.file(
        "group",
        &format!("root:x:0:\nDebian-exim:x:{account}:\nnogroup:x:65534:\n"),
    );
    let (place, mut command) = program("exim", "usr/sbin/exim4");
    let config = CONFIG
        .replace("{folder}", &ground.folder.path().to_string_lossy())
        .replace("{place}", &place.to_string_lossy())
        .replace("{account}", &account.to_string());
    ground.file("exim.conf", &config);
    command
        .env("LD_PRELOAD", "libnss_wrapper.so")
        .env("NSS_WRAPPER_PASSWD", ground.path("passwd"))
        .env("NSS_WRAPPER_GROUP", ground.path("group"))
        .arg("-C")
        .arg(ground.path("exim.conf"))
        .args(["-bdf", "-oX"])
        .arg(format!("<; [127.0.0.1]:{}", ground.port));
    Peer::start(
        "Exim",
        ground,
        "mail",
        &["logs/main", "logs/reject", "logs/panic"],
        command,
    )
    .await
}

const CONFIG: &str = "\
exim_path = {place}/usr/sbin/exim4
primary_hostname = exim.test
qualify_domain = exim.test
spool_directory = {folder}/spool
log_file_path = {folder}/logs/%s
log_selector = +incoming_port +smtp_connection +smtp_protocol_error +smtp_syntax_error +smtp_incomplete_transaction +tls_cipher
pid_file_path = {folder}/pid
keep_environment = LD_LIBRARY_PATH : LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
add_environment = PATH=/usr/bin:/bin
deliver_drop_privilege = true
host_lookup =
pipelining_connect_advertise_hosts =
smtp_accept_max = 100
smtp_accept_queue_per_connection = 0
smtp_accept_max_per_connection = 0
tls_advertise_hosts = *
tls_certificate = {folder}/certificate.pem
tls_privatekey = {folder}/key.pem
acl_smtp_rcpt = recipient
acl_smtp_data = content
begin acl
recipient:
  deny   local_parts = unknown
         message = 550 5.1.1 <$local_part@$domain>: Recipient address rejected: User unknown
  defer  local_parts = later
         condition = ${if exists{{folder}/greylist}}
         message = 450 4.2.0 Greylisted, try again later
  accept
content:
  accept
begin routers
all:
  driver = accept
  transport = mailbox
begin transports
mailbox:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  user = {account}
  group = {account}
  return_path_add
  envelope_to_add
";
