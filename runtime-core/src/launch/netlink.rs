//! As much of rtnetlink as moving network devices takes (`rtnetlink(7)`, `netlink(7)`).

use crate::sys::{self, Fd};
use nix::Result;
use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of `struct ifinfomsg`.
const LINK_BODY: usize = 16;
/// Bytes of `struct ifaddrmsg`.
const ADDRESS_BODY: usize = 8;
/// Flags of an address that survive a move; the others say what the kernel has found out.
const KEPT_FLAGS: u32 = libc::IFA_F_NODAD
    | libc::IFA_F_HOMEADDRESS
    | libc::IFA_F_MANAGETEMPADDR
    | libc::IFA_F_NOPREFIXROUTE
    | libc::IFA_F_MCAUTOJOIN;
/// `IFA_RT_PRIORITY` and `IFA_PROTO` (`if_addr.h`), which the libc crate lacks.
const IFA_RT_PRIORITY: u16 = 9;
const IFA_PROTO: u16 = 11;
/// How often a listing is begun again because the kernel says that it changed meanwhile.
const LIST_TRIES: u32 = 16;

/// A message under construction.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: i32, body: &[u8]) -> Self {
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST).unwrap_or(u16::MAX);
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        // The sequence number, set when it is sent, and the port, which is the kernel's.
        bytes.extend([0; 8]);
        bytes.extend(body);
        Self(bytes)
    }

    /// About a link; number 0 stands for a link that is named by an attribute.
    fn link(kind: u16, flags: i32, index: u32, set: u32, change: u32) -> Self {
        let mut body = vec![0; 4];
        for word in [index, set, change] {
            body.extend(word.to_ne_bytes());
        }
        Self::new(kind, flags, &body)
    }

    /// Adds an attribute, padded to four bytes.
    fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Adds a name, with its NUL.
    fn with_name(self, kind: u16, name: &str) -> Self {
        let mut value = name.as_bytes().to_vec();
        value.push(0);
        self.with(kind, &value)
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        for (at, word) in [(0, length), (8, sequence)] {
            if let Some(place) = self.0.get_mut(at..at + 4) {
                place.copy_from_slice(&word.to_ne_bytes());
            }
        }
        self.0
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// The attributes in `bytes`: kind and value.  What is cut off or malformed ends them.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        // The upper two bits say how the value is encoded.
        let kind = u16_at(bytes, 2)? & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A message from the kernel.
struct Answer<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

/// The messages in a datagram.
fn answers(mut bytes: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let answer = Answer {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            body: bytes.get(HEADER..length)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(answer)
    })
}

/// A network device as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
}

impl Link {
    fn parse(body: &[u8]) -> Option<Self> {
        let name = attributes(body.get(LINK_BODY..)?).find(|(kind, _)| *kind == libc::IFLA_IFNAME)?.1;
        let name = name.split(|b| *b == 0).next().unwrap_or_default();
        Some(Self { index: u32_at(body, 4)?, name: String::from_utf8_lossy(name).into_owned() })
    }
}

/// An address of a device, as far as it moves with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    flags: u32,
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Address {
    /// The address in a message, when it belongs to link `index`, is permanent and of global scope: what the specification
    /// wants kept.
    fn parse(body: &[u8], index: u32) -> Option<Self> {
        let &[family, prefix, short_flags, scope] = body.get(..4)? else { return None };
        let all: Vec<(u16, &[u8])> = attributes(body.get(ADDRESS_BODY..)?).collect();
        // The header has room for eight flags only.
        let long_flags = all.iter().find(|(kind, _)| *kind == libc::IFA_FLAGS);
        let flags = long_flags.and_then(|(_, value)| u32_at(value, 0)).unwrap_or(short_flags.into());
        let wanted = u32_at(body, 4)? == index
            && scope == libc::RT_SCOPE_UNIVERSE
            && flags & libc::IFA_F_PERMANENT != 0;
        let kept = [
            libc::IFA_ADDRESS,
            libc::IFA_LOCAL,
            libc::IFA_BROADCAST,
            libc::IFA_LABEL,
            libc::IFA_CACHEINFO,
            IFA_RT_PRIORITY,
            IFA_PROTO,
        ];
        let attributes = all.into_iter().filter(|(kind, _)| kept.contains(kind));
        wanted.then(|| Self {
            family,
            prefix,
            flags: flags & KEPT_FLAGS,
            attributes: attributes.map(|(kind, value)| (kind, value.to_vec())).collect(),
        })
    }

    /// The message that adds it to link `index`, which had the name `old` and has the name `new`.
    fn message(&self, index: u32, old: &str, new: &str) -> Message {
        let mut body = vec![self.family, self.prefix, 0, libc::RT_SCOPE_UNIVERSE];
        body.extend(index.to_ne_bytes());
        let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        let message =
            Message::new(libc::RTM_NEWADDR, flags, &body).with(libc::IFA_FLAGS, &self.flags.to_ne_bytes());
        self.attributes.iter().fold(message, |message, (kind, value)| {
            if *kind != libc::IFA_LABEL {
                return message.with(*kind, value);
            }
            match relabel(value, old, new) {
                Some(label) => message.with(*kind, &label),
                None => message,
            }
        })
    }
}

/// A label begins with the name of its device; one that would not fit under the new name is left out.
fn relabel(label: &[u8], old: &str, new: &str) -> Option<Vec<u8>> {
    let rest = label.strip_prefix(old.as_bytes())?;
    let label = [new.as_bytes(), rest].concat();
    (label.len() <= libc::IFNAMSIZ).then_some(label)
}

/// A socket to rtnetlink, which speaks for the network namespace it was opened in.
#[derive(Debug)]
pub struct Route {
    socket: OwnedFd,
    sequence: u32,
}

impl From<OwnedFd> for Route {
    fn from(socket: OwnedFd) -> Self {
        Self { socket, sequence: 0 }
    }
}

impl Route {
    /// Opens one in the network namespace of the calling thread.
    pub fn open() -> Result<Self> {
        sys::route_socket().map(|fd| Self::from(sys::own(fd))).map_err(|e| Errno::from_raw(e.errno))
    }

    /// The device of this name.
    pub fn link(&mut self, name: &str) -> Result<Link> {
        let message = Message::link(libc::RTM_GETLINK, libc::NLM_F_ACK, 0, 0, 0);
        let mut found =
            self.ask(message.with_name(libc::IFLA_IFNAME, name), |answer| Link::parse(answer.body))?;
        found.pop().ok_or(Errno::ENODEV)
    }

    /// The names of all devices.
    pub fn names(&mut self) -> Result<Vec<String>> {
        self.list(
            || Message::link(libc::RTM_GETLINK, libc::NLM_F_DUMP, 0, 0, 0),
            |answer| Link::parse(answer.body).map(|link| link.name),
        )
    }

    /// The permanent addresses of global scope of a device.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<Address>> {
        self.list(
            || Message::new(libc::RTM_GETADDR, libc::NLM_F_DUMP, &[0; ADDRESS_BODY]),
            |answer| Address::parse(answer.body, index),
        )
    }

    /// Adds an address.
    pub fn add_address(&mut self, index: u32, address: &Address, old: &str, new: &str) -> Result<()> {
        self.ask(address.message(index, old, new), |_| None::<()>).map(drop)
    }

    /// Sets a device up or down.
    pub fn set_up(&mut self, index: u32, up: bool) -> Result<()> {
        let flag = libc::IFF_UP.unsigned_abs();
        let set = if up { flag } else { 0 };
        self.ask(Message::link(libc::RTM_SETLINK, libc::NLM_F_ACK, index, set, flag), |_| None::<()>)
            .map(drop)
    }

    /// Moves a device into another network namespace, and renames it.
    pub fn move_link(&mut self, index: u32, netns: BorrowedFd<'_>, name: &str) -> Result<()> {
        let message = Message::link(libc::RTM_SETLINK, libc::NLM_F_ACK, index, 0, 0)
            .with(libc::IFLA_NET_NS_FD, &netns.as_raw_fd().to_ne_bytes())
            .with_name(libc::IFLA_IFNAME, name);
        self.ask(message, |_| None::<()>).map(drop)
    }

    /// Asks for a listing, again when it changed while the kernel wrote it.
    fn list<T>(
        &mut self,
        question: impl Fn() -> Message,
        parse: impl Fn(&Answer<'_>) -> Option<T>,
    ) -> Result<Vec<T>> {
        let interrupted = u16::try_from(libc::NLM_F_DUMP_INTR).unwrap_or_default();
        for _ in 0..LIST_TRIES {
            let mut whole = true;
            let found = self.ask(question(), |answer| {
                whole &= answer.flags & interrupted == 0;
                parse(answer)
            })?;
            if whole {
                return Ok(found);
            }
        }
        Err(Errno::EAGAIN)
    }

    /// Sends a message and takes what `parse` makes of the answers, up to the one that ends them.
    fn ask<T>(
        &mut self,
        message: Message,
        mut parse: impl FnMut(&Answer<'_>) -> Option<T>,
    ) -> Result<Vec<T>> {
        self.sequence += 1;
        let socket = Fd::from(&self.socket);
        let errno = |e: sys::SysError| Errno::from_raw(e.errno);
        sys::write(socket, &message.finish(self.sequence)).map_err(errno)?;
        let mut found = Vec::new();
        // The kernel makes no datagram of a listing larger than 32 KiB, and a single link is smaller.
        let mut datagram = vec![0; 1 << 16];
        loop {
            let length = sys::read(socket, &mut datagram).map_err(errno)?;
            let received = datagram.get(..length).unwrap_or_default();
            for answer in answers(received).filter(|answer| answer.sequence == self.sequence) {
                match i32::from(answer.kind) {
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => return ended(answer.body).map(|()| found),
                    _ => found.extend(parse(&answer)),
                }
            }
        }
    }
}

/// An acknowledgement begins with an error number, negated, or 0; so does the end of a listing.
fn ended(body: &[u8]) -> Result<()> {
    match u32_at(body, 0).map_or(0, u32::cast_signed) {
        0.. => Ok(()),
        errno => Err(Errno::from_raw(errno.wrapping_neg())),
    }
}

/// The name that a template with `%d` stands for: the lowest number whose name is not among `taken`.  Another name is itself.
pub fn fill_template(template: &str, taken: &[String]) -> String {
    let Some((before, after)) = template.split_once("%d") else { return template.to_owned() };
    let mut names = (0u32..).map(|n| format!("{before}{n}{after}"));
    names.find(|name| !taken.contains(name)).unwrap_or_default()
}

/// Those of `names` that a template may have become; for another name itself, when it is there.
pub fn matching<'n>(template: &str, names: &'n [String]) -> Vec<&'n str> {
    let fits = |name: &str| match template.split_once("%d") {
        None => name == template,
        Some((before, after)) => {
            let number = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        }
    };
    names.iter().map(String::as_str).filter(|name| fits(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_laid_out_as_the_kernel_reads_it() {
        let bytes = Message::link(libc::RTM_SETLINK, libc::NLM_F_ACK, 7, 1, 1)
            .with_name(libc::IFLA_IFNAME, "eth0")
            .finish(9);
        assert_eq!(bytes.len(), HEADER + LINK_BODY + 12);
        assert_eq!(u32_at(&bytes, 0), Some(44));
        assert_eq!((u16_at(&bytes, 4), u16_at(&bytes, 6)), (Some(19), Some(5)));
        assert_eq!((u32_at(&bytes, 8), u32_at(&bytes, 12)), (Some(9), Some(0)));
        assert_eq!((u32_at(&bytes, 20), u32_at(&bytes, 24), u32_at(&bytes, 28)), (Some(7), Some(1), Some(1)));
        // Length 4 + 5, padded to 12; kind 3; name with its NUL.
        assert_eq!(bytes.get(32..), Some(&[9, 0, 3, 0, b'e', b't', b'h', b'0', 0, 0, 0, 0][..]));
    }

    #[test]
    fn answers_are_taken_apart_and_broken_ones_end_them() {
        let mut bytes =
            Message::link(libc::RTM_NEWLINK, 0, 5, 0, 0).with_name(libc::IFLA_IFNAME, "lan").finish(1);
        bytes.extend(
            Message::new(20, 0, &[2, 24, 0x80, 0, 5, 0, 0, 0])
                .with(libc::IFA_LOCAL, &[10, 0, 0, 1])
                .finish(1),
        );
        let found: Vec<_> = answers(&bytes).collect();
        assert_eq!(found.iter().map(|a| a.kind).collect::<Vec<_>>(), [16, 20]);
        let link = found.first().and_then(|a| Link::parse(a.body)).unwrap();
        assert_eq!(link, Link { index: 5, name: "lan".into() });
        let body = found.get(1).unwrap().body;
        let address = Address::parse(body, 5).unwrap();
        assert_eq!((address.family, address.prefix), (2, 24));
        assert_eq!(Address::parse(body, 6), None, "of another device");
        for cut in 0..bytes.len() {
            let part = bytes.get(..cut).unwrap();
            assert!(
                answers(part).all(|a| Link::parse(a.body).is_some() || Address::parse(a.body, 5).is_some())
            );
        }
        // An attribute that states less than its own header must not be read for ever.
        assert_eq!(attributes(&[3, 0, 1, 0, 9]).count(), 0);
    }

    #[test]
    fn only_permanent_addresses_of_global_scope_are_kept_and_only_what_was_set_of_their_flags() {
        let parse = |flags: u32, scope| {
            let [low, ..] = flags.to_ne_bytes();
            let message = Message::new(20, 0, &[10, 64, low, scope, 3, 0, 0, 0]);
            let message =
                message.with(libc::IFA_FLAGS, &flags.to_ne_bytes()).with(libc::IFA_ADDRESS, &[1; 16]);
            Address::parse(message.finish(0).get(HEADER..).unwrap(), 3)
        };
        let nodad = libc::IFA_F_NODAD | libc::IFA_F_NOPREFIXROUTE;
        assert_eq!(parse(libc::IFA_F_PERMANENT | nodad | libc::IFA_F_TENTATIVE, 0).unwrap().flags, nodad);
        assert_eq!(parse(nodad, 0), None, "has a lifetime");
        assert_eq!(parse(libc::IFA_F_PERMANENT, libc::RT_SCOPE_LINK), None);
    }

    #[test]
    fn labels_and_templates() {
        assert_eq!(relabel(b"eth0:web\0", "eth0", "lan").as_deref(), Some(&b"lan:web\0"[..]));
        assert_eq!(relabel(b"eth0:web\0", "eth0", "a-name-of-15-by"), None);
        assert_eq!(relabel(b"other\0", "eth0", "lan"), None);
        let names = ["lo", "eth0", "eth2", "ethx"].map(str::to_owned);
        assert_eq!(fill_template("eth%d", &names), "eth1");
        assert_eq!(fill_template("lan", &names), "lan");
        assert_eq!(matching("eth%d", &names), ["eth0", "eth2"]);
        assert_eq!(matching("ethx", &names), ["ethx"]);
        assert!(matching("lan", &names).is_empty());
    }

    #[test]
    fn the_kernel_answers() {
        let mut route = Route::open().unwrap();
        assert!(route.names().unwrap().contains(&"lo".to_owned()));
        assert_eq!(route.link("lo").unwrap().index, 1);
        assert_eq!(route.link("no-such-dev"), Err(Errno::ENODEV));
        assert_eq!(route.addresses(1), Ok(Vec::new()), "127.0.0.1 is of host scope");
    }
}
