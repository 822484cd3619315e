package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

// childRole tells the test program to be a server whose keys are known, and whether it is to leak them.
const childRole = "DACHS_TEST_CHILD"

// knownKeys makes keys that a test can look for. It calculates them where they are wanted, and so keeps none itself.
type knownKeys struct{ n uint64 }

func (k *knownKeys) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(knownWord(k.n) >> (k.n % 8 * 8))
		k.n++
	}
	return len(p), nil
}

// knownWord is the word that byte n of all keys is in, as random as any.
func knownWord(n uint64) uint64 {
	x := (n/8 + 1) * 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

var leaked []byte // keeps what a child leaks from being collected

func runChild() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if os.Getenv(childRole) == "leak" {
		leaked = make([]byte, 32)
		_, _ = new(knownKeys).Read(leaked)
	}
	a := &app{stdout: os.Stdout, stderr: os.Stderr, data: os.Args[1], key: new(encryption).key,
		logger: slog.New(slog.DiscardHandler), now: time.Now, random: new(knownKeys)}
	cmd := &serveCmd{address: address{Listen: "127.0.0.1:0"}, proxyFlags: proxyFlags{TrustedProxies: []string{"127.0.0.1"}}}
	if err := cmd.Run(ctx, a); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitError
	}
	runtime.KeepAlive(leaked)
	return exitOK
}
