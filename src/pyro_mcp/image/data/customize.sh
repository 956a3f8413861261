# Runs on the host (sh -c, as root of the build's namespace) when all packages are installed; $1 is the new root.
# Makes of a Debian installation an image that any number of guests start from.
set -eu
umask 022
cd "$1"

# The agent gives every guest its own; here they are plain files to mount those over.
rm -f etc/machine-id etc/hostname etc/resolv.conf etc/hosts var/lib/dbus/machine-id
: >etc/machine-id
: >etc/resolv.conf
echo localhost >etc/hostname
printf '127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n' >etc/hosts
chmod 0644 etc/machine-id etc/resolv.conf etc/hostname etc/hosts

ln -sfn ../proc/self/mounts etc/mtab

mkdir -p workspace etc/default usr/sbin
chmod 0755 workspace
echo LANG=C.UTF-8 >etc/default/locale

# Commits made in a guest need some identity; whatever a repository or a user sets takes precedence.
printf '[user]\n\tname = pyro\n\temail = pyro@localhost\n' >etc/gitconfig
chmod 0644 etc/gitconfig

if [ -d etc/sudoers.d ]; then
    chroot . useradd --uid 1000 --user-group --create-home --shell /bin/bash user
    echo 'user ALL=(ALL:ALL) NOPASSWD: ALL' >etc/sudoers.d/user
    chmod 0440 etc/sudoers.d/user
fi

# Packages must not start daemons: a guest has services of its own, and this is nobody's machine to administer.
printf '#!/bin/sh\nexit 101\n' >usr/sbin/policy-rc.d
chmod 0755 usr/sbin/policy-rc.d

# Told which keyring to use, apt takes that as it is; else it converts and merges all that it trusts, for each source,
# which takes a guest without hardware acceleration seconds.
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -s ".$keyring" ]
sed -i "s|^deb http|deb [signed-by=$keyring] http|" etc/apt/sources.list

# Nobody sits there to answer questions; whoever does can set DEBIAN_FRONTEND.
echo 'debconf debconf/frontend select Noninteractive' | chroot . debconf-set-selections

# Some packages fail to install where these are missing although no manual page is ever unpacked.
for section in 1 2 3 4 5 6 7 8 9; do
    mkdir -p "usr/share/man/man$section"
done

find usr/share/doc -mindepth 2 ! -name copyright ! -type d -delete
find usr/share/doc -mindepth 1 -type d -empty -delete
rm -rf usr/share/info/* usr/share/lintian usr/share/linda usr/share/doc-base usr/share/bug usr/share/groff
rm -rf var/cache/debconf/*-old var/cache/ldconfig var/lib/dpkg/*-old var/log/apt var/log/alternatives.log
rm -f var/log/bootstrap.log var/log/dpkg.log root/.bash_history

# apt's package lists stay, and what it makes of them, as it would make it in the guest; downloaded packages don't.
rm -rf var/cache/apt
mkdir -p -m 0755 var/cache/apt/archives/partial var/lib/apt/lists/partial
chroot . apt-cache gencaches
