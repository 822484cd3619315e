package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
)

// socketName is the admin socket's file in the data directory.
const socketName = "admin.sock"

// maxSocketPath is the longest path that every system takes for a unix socket (104 bytes with the final
// zero on BSD and macOS, 108 on Linux).
const maxSocketPath = 103

// shortPath returns a path of name in dir that fits into a socket address, and a function that ends its
// validity. On Linux a longer path goes through a descriptor of the directory.
func shortPath(dir, name string) (path string, done func(), err error) {
	path = filepath.Join(dir, name)
	if len(path) <= maxSocketPath {
		return path, func() {}, nil
	}
	if runtime.GOOS != "linux" {
		return "", nil, fmt.Errorf("path of the admin socket has %d bytes, at most %d work; use a shorter --data", len(path), maxSocketPath)
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name), func() { d.Close() }, nil
}

// dialAdmin connects to the server that has the store in dir open.
func dialAdmin(ctx context.Context, dir string) (net.Conn, error) {
	path, done, err := shortPath(dir, socketName)
	if err != nil {
		return nil, err
	}
	defer done()
	return new(net.Dialer).DialContext(ctx, "unix", path)
}

// listenAdmin makes the admin socket, which only this user can reach. The caller holds the store's lock, so
// a socket that lies there already was left by a process that was killed, and is replaced. Closing the
// listener removes it.
func listenAdmin(dir string) (net.Listener, error) {
	// Bound under another name in a directory of its own: nobody can connect before the mode is set, even
	// if the data directory itself is open to others.
	nest, err := os.MkdirTemp(dir, ".admin-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(nest)
	path, done, err := shortPath(nest, socketName)
	if err != nil {
		return nil, err
	}
	defer done()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false) // it would unlink the name before the move
	final := filepath.Join(dir, socketName)
	if err := os.Chmod(filepath.Join(nest, socketName), 0o600); err != nil {
		ln.Close()
		return nil, err
	}
	if err := os.Rename(filepath.Join(nest, socketName), final); err != nil {
		ln.Close()
		return nil, err
	}
	return &adminListener{ln, final}, nil
}

// adminListener removes its socket when it is closed.
type adminListener struct {
	net.Listener
	path string
}

func (l *adminListener) Close() error {
	os.Remove(l.path)
	return l.Listener.Close()
}
