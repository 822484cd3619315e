package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"time"
)

// version is set by the linker in releases: -ldflags "-X main.version=v1.2.3".
var version string

// buildVersion names this build: the release, or the commit it was built from, or "devel".
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}

type versionCmd struct{}

// Run implements the command.
func (versionCmd) Run(a *app) error {
	_, err := fmt.Fprintf(a.stdout, "dachs %s (%s %s/%s)\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// healthcheckCmd asks the running server whether it can count. The image has no shell and no curl to do it.
type healthcheckCmd struct {
	Listen string `help:"Address that the server listens on (default ${default})." default:"127.0.0.1:8080" env:"DACHS_LISTEN" placeholder:"HOST:PORT"`
	proxyFlags
}

// rootCause returns the innermost error: all around it only repeats the address in the words of the libraries.
func rootCause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// healthTimeout is shorter than the time between two checks of a container engine.
const healthTimeout = 5 * time.Second

// Run implements the command.
func (c *healthcheckCmd) Run(ctx context.Context, a *app) error {
	host, port, err := splitListen(c.Listen)
	if err != nil {
		return err
	}
	proxies, err := c.proxyFlags.parse()
	if err != nil {
		return err
	}
	if host == anyHost {
		host = "127.0.0.1" // the image has no file of host names
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/healthz", nil)
	if err != nil {
		return usagef("--listen %q: %w", c.Listen, err)
	}
	// Not the default transport: it would go through a proxy of the environment.
	resp, err := (&http.Client{Transport: &http.Transport{DialContext: proxies.dial}}).Do(req)
	if err != nil {
		return fmt.Errorf("check health: no Dachs answers at %s (%w): is it running, and is --listen the same?", c.Listen, rootCause(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("check health: the server on %s answers %s", c.Listen, resp.Status)
	}
	_, err = fmt.Fprintln(a.stdout, "ok")
	return err
}
