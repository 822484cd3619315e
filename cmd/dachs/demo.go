package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
)

// demoCmd is `dachs demo`.
type demoCmd struct {
	Listen string `help:"Loopback address of the report; the demo shop takes the next free port (default ${default})." default:"127.0.0.1:8080" placeholder:"HOST:PORT"`
}

// Run shows a report full of made-up data and a shop to click in, until it is told to stop. Nothing of it stays.
func (c *demoCmd) Run(ctx context.Context, a *app) (err error) {
	if err := loopbackOnly(c.Listen); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "dachs-demo-*")
	if err != nil {
		return fmt.Errorf("make temporary store: %w; set TMPDIR to a directory that can be written to", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	scratch := *a
	scratch.data = dir
	scratch.key = func() ([]byte, error) { return nil, nil } // made-up data is no secret
	serve := &serveCmd{address: address{Listen: c.Listen}, open: true}
	s, err := serve.start(&scratch)
	if err != nil {
		return err
	}
	if err := c.prepare(ctx, a, s); err != nil {
		if ctx.Err() != nil {
			err = nil // stopped while the past was being made up: the normal end, only early
		}
		return errors.Join(err, s.close())
	}
	return c.serve(ctx, a, s)
}

// loopbackOnly refuses addresses that others can reach: the demo shows everything to everybody.
func loopbackOnly(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return usagef("--listen %q: want HOST:PORT", listen)
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() || host == "localhost" {
		return nil
	}
	return usagef("--listen %q: the demo has no login and stays on this machine; use 127.0.0.1 or localhost, or `dachs serve`", listen)
}

// prepare adds the demo's site and its past.
func (c *demoCmd) prepare(ctx context.Context, a *app, s *server) error {
	site, err := s.store.AddSite(demoDomain, demoZone)
	if err != nil {
		return fmt.Errorf("add demo site: %w", err)
	}
	line := newProgressLine(a)
	defer line.clear()
	return fillDemo(ctx, s.store, s.geo, site, a.now(), func(day int, hits int64) {
		line.show(fmt.Sprintf("making up day %d of %d, %s hits", day, demoDays, grouped(hits)))
	})
}

// serve runs the shop beside the server.
func (c *demoCmd) serve(ctx context.Context, a *app, s *server) error {
	shop, err := newShop(s.base, demoDomain)
	if err != nil {
		return errors.Join(err, s.close())
	}
	ln, err := listenNext(s.listener.Addr())
	if err != nil {
		return errors.Join(err, s.close())
	}
	web := newShopServer(shop)
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := web.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			a.logger.Error("the demo shop stopped", "error", err)
		}
	}()
	defer func() {
		web.Close()
		<-served
	}()
	if err := greetDemo(a.stdout, s.base, "http://"+ln.Addr().String()+"/"); err != nil {
		return errors.Join(err, s.close())
	}
	return s.serve(ctx)
}

// greetDemo prints where to look, the report first.
func greetDemo(w io.Writer, base, shop string) error {
	_, err := fmt.Fprintf(w, "Report: %s\nShop:   %s (your own clicks there show up in the report)\nStop with Ctrl-C; nothing is kept.\n",
		reportURL(base, demoDomain), shop)
	if err != nil {
		return fmt.Errorf("print addresses: %w", err)
	}
	return nil
}

// nearPorts is how far the shop's port may lie from the report's before any free one will do.
const nearPorts = 20

// listenNext listens on the next free port after that of addr, on the same host.
func listenNext(addr net.Addr) (net.Listener, error) {
	host, text, err := net.SplitHostPort(addr.String())
	if err != nil {
		return nil, fmt.Errorf("find port for the demo shop: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("find port for the demo shop: %w", err)
	}
	for next := port + 1; next <= min(port+nearPorts, 65535); next++ {
		if ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(next))); err == nil {
			return ln, nil
		}
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, fmt.Errorf("find port for the demo shop: %w", err)
	}
	return ln, nil
}
