//! Postfix with a configuration and a queue of its own; `virtual` delivers everything to one maildir.
//!
//! `master` is started directly, without the `postfix` command, which would look at the configuration of the system.

use super::peer::{Ground, Peer, program};

/// Accepts everything but what the access table says.
pub(super) async fn start(access: &[(&str, &str)]) -> Peer {
    let ground = Ground::new("mail");
    assert_eq!(
        ground.owner, 0,
        "Postfix must be started by root: run these tests as root"
    );
    for queue in [
        "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "maildrop", "private",
        "public", "saved", "trace",
    ] {
        ground.directory(&format!("queue/{queue}"));
    }
    std::fs::create_dir(ground.path("queue/pid")).unwrap();
    ground.directory("data");
    let table: String = access.iter().map(|(who, answer)| format!("{who} {answer}\n")).collect();
    ground.file("config/access", &table);
    let (place, mut command) = program("postfix", "usr/lib/postfix/sbin/master");
    let main = MAIN
        .replace("{folder}", &ground.folder.path().to_string_lossy())
        .replace("{place}", &place.to_string_lossy());
    ground.file("config/main.cf", &main);
    ground.file("config/master.cf", &MASTER.replace("{port}", &ground.port.to_string()));
    command.arg("-c").arg(ground.path("config")).arg("-d");
    Peer::start("Postfix", ground, "mail/all", &["log"], command).await
}

/// Accounts are those of every Debian; none may stand for two of the three roles.
const MAIN: &str = "\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
daemon_directory = {place}/usr/lib/postfix/sbin
command_directory = {place}/usr/sbin
shlib_directory = {place}/usr/lib/postfix
meta_directory = {folder}/config
import_environment = MAIL_CONFIG MAIL_LOGTAG POSTLOG_SERVICE POSTLOG_HOSTNAME LANG=C LD_LIBRARY_PATH
mail_owner = mail
setgid_group = daemon
default_privs = nobody
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
default_database_type = texthash
myhostname = postfix.test
mydestination =
mynetworks =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_error_sleep_time = 0
smtpd_tls_security_level = may
smtpd_tls_cert_file = {folder}/certificate.pem
smtpd_tls_key_file = {folder}/key.pem
smtpd_tls_received_header = yes
smtpd_relay_restrictions = permit_auth_destination, reject
smtpd_recipient_restrictions = check_recipient_access texthash:{folder}/config/access
virtual_mailbox_domains = static:all
virtual_mailbox_maps = static:all/
virtual_mailbox_base = {folder}/mail
virtual_minimum_uid = 1
virtual_uid_maps = static:8
virtual_gid_maps = static:8
";

const MASTER: &str = "\
127.0.0.1:{port} inet n - n - - smtpd
postlog  unix-dgram n - n - 1 postlogd
cleanup  unix n - n - 0 cleanup
qmgr     unix n - n 300 1 qmgr
tlsmgr   unix - - n 1000? 1 tlsmgr
rewrite  unix - - n - - trivial-rewrite
bounce   unix - - n - 0 bounce
defer    unix - - n - 0 bounce
trace    unix - - n - 0 bounce
verify   unix - - n - 1 verify
flush    unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
error    unix - - n - - error
retry    unix - - n - - error
anvil    unix - - n - 1 anvil
virtual  unix - n n - - virtual
";
