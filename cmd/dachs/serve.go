package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"dachs/dashboard"
	"dachs/storage"
	"dachs/tracker"

	"github.com/valyala/fasthttp"
)

// serveCmd counts and shows until it is told to stop.
type serveCmd struct {
	address
	proxyFlags
	GeoIP       string `help:"MaxMind or DB-IP file (.mmdb) of countries or cities. Default: the embedded country table." name:"geoip" env:"DACHS_GEOIP" placeholder:"FILE"`
	DataCentres string `help:"File of networks of data centres, one in each line. Sites refuse hits from them with dachs site set --data-centres=on." name:"data-centres" env:"DACHS_DATA_CENTRES" placeholder:"FILE"`
	RateLimit   int    `help:"Hits a second that a site takes from one address, and six times as many at once; 0 is no limit (default ${default})." default:"10" env:"DACHS_RATE_LIMIT" placeholder:"N"`
	Sync        bool   `help:"Write each hit through to the disk before it is accepted: a power cut takes nothing, and counting is slower." env:"DACHS_SYNC"`
	State       string `help:"Directory in memory (tmpfs), such as one below /run: today's visitors are kept there from a stop to the next start, so that they are not counted twice. Under systemd its store of file descriptors does the same." env:"DACHS_STATE" placeholder:"DIR"`

	open bool // dashboard without login, for the demo
}

// Run implements the command.
func (c *serveCmd) Run(ctx context.Context, a *app) error {
	s, err := c.start(a)
	if err != nil {
		return err
	}
	if err := s.greet(a.stdout, a.data); err != nil {
		return errors.Join(err, s.close())
	}
	return s.serve(ctx)
}

// server is everything that a running Dachs holds, in the order in which it was opened.
type server struct {
	logger   *slog.Logger
	addr     string // host and port that it listens on
	base     string // address of the dashboard, for links
	listener net.Listener
	store    *storage.DB
	geo      *tracker.Geo
	// dataCentres are the networks of --data-centres; nil without
	dataCentres *tracker.Networks
	tracker     *tracker.Tracker
	handover    handover // nil: the next start begins the day anew
	public      *fasthttp.Server
	admin       *admin
	adminWeb    *http.Server
	adminLn     net.Listener // nil if the file system has no sockets
}

// start prepares everything that can fail. What is cheap to check, or harmless to fail, comes first: nothing
// is written before the flags are right, the port is ours and the store is locked.
func (c *serveCmd) start(a *app) (_ *server, err error) {
	proxies, err := c.proxyFlags.parse()
	if err != nil {
		return nil, err
	}
	if _, err := c.base(c.Listen); err != nil {
		return nil, err
	}
	s := &server{logger: a.logger}
	if s.handover, err = newHandover(c.State); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.geo, err = openGeo(c.GeoIP); err != nil {
		return nil, err
	}
	if c.RateLimit < 0 {
		return nil, usagef("--rate-limit %d: want how many hits a second, or 0 for no limit", c.RateLimit)
	}
	if c.DataCentres != "" {
		if s.dataCentres, err = tracker.OpenNetworks(c.DataCentres); err != nil {
			return nil, fmt.Errorf("%w (set with --data-centres)", err)
		}
	}
	if s.listener, err = listen(c.Listen); err != nil {
		return nil, err
	}
	s.listener = proxies.listen(s.listener)
	s.addr = s.listener.Addr().String()
	if s.base, err = c.base(s.addr); err != nil {
		return nil, err
	}
	if s.store, err = a.openStore(storage.Options{Sync: c.Sync}); err != nil {
		return nil, err
	}
	if err := s.wire(c, a, proxies); err != nil {
		return nil, err
	}
	return s, nil
}

// wire builds the handlers on the open store.
func (s *server) wire(c *serveCmd, a *app, proxies proxies) (err error) {
	s.tracker, err = tracker.New(tracker.Options{
		Store: s.store, TrustedProxies: proxies.networks, ClientHeader: proxies.header, Geo: s.geo, Logger: a.logger, Now: a.now, Random: a.random,
		DataCentres: s.dataCentres, RateLimit: c.RateLimit,
	})
	if err != nil {
		return fmt.Errorf("prepare counting: %w", err)
	}
	resume(s.handover, s.tracker, a.logger)
	board, err := dashboard.New(dashboard.Options{
		Store: s.store, BaseURL: c.BaseURL, Open: c.open, Version: buildVersion(), Logger: a.logger, Now: a.now,
	})
	if err != nil {
		return fmt.Errorf("prepare dashboard: %w", err)
	}
	s.public = newPublicServer(s.tracker, board, a.logger)
	check := &checkup{proxies: proxies, tracker: s.tracker, now: a.now}
	s.public.Handler = check.before(s.public.Handler)
	s.admin = &admin{store: s.store, geo: s.geo, dataCentres: s.dataCentres, base: s.base, listen: s.addr, logger: a.logger, now: a.now, checkup: check}
	s.adminWeb = &http.Server{Handler: s.admin.handler(), ErrorLog: silentLog()}
	if s.adminLn, err = listenAdmin(a.data); err != nil {
		a.logger.Warn("no admin socket: commands such as `dachs site add` work only while the server is stopped", "error", err)
	}
	return nil
}

// drainTimeout bounds how long running requests may take after the signal to stop. Container engines kill
// after ten seconds.
const drainTimeout = 7 * time.Second

// serve answers requests until ctx ends or a listener fails, and closes everything.
func (s *server) serve(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.public.Serve(s.listener); err != nil {
			stop(fmt.Errorf("serve: %w", err))
		}
	})
	if s.adminLn != nil {
		running.Go(func() {
			if err := s.adminWeb.Serve(s.adminLn); !errors.Is(err, http.ErrServerClosed) {
				stop(fmt.Errorf("serve admin socket: %w", err))
			}
		})
	}
	<-ctx.Done()
	s.drain()
	running.Wait()
	err := s.close()
	// A signal is the normal end; anything else that stopped us is an error.
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return errors.Join(cause, err)
	}
	return err
}

// drain stops listening and lets the requests that are under way finish.
func (s *server) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	var both sync.WaitGroup
	both.Go(func() {
		if err := s.public.ShutdownWithContext(ctx); err != nil {
			s.logger.Warn("stopped before every request was answered")
		}
	})
	both.Go(func() {
		if err := s.adminWeb.Shutdown(ctx); err != nil {
			s.logger.Warn("stopped before every command was done")
			s.adminWeb.Close()
		}
		s.admin.running.Wait()
	})
	both.Wait()
}

// close releases what start had opened, last first: the tracker hands its last increments to the store.
func (s *server) close() error {
	var errs []error
	if s.adminLn != nil {
		s.adminLn.Close() // closed already after a drain
	}
	if s.listener != nil {
		s.listener.Close() // the same
	}
	if s.tracker != nil {
		keepVisitors(s.handover, s.tracker, s.logger)
		errs = append(errs, s.tracker.Close())
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	if s.geo != nil {
		errs = append(errs, s.geo.Close())
	}
	return errors.Join(errs...)
}

// listen opens the public port.
func listen(addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen on %s: the port is in use; stop the program that has it, or choose another with --listen", addr)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("listen on %s: not permitted; choose a port above 1023 with --listen", addr)
	}
	return nil, fmt.Errorf("listen on %s: %w; choose another address with --listen", addr, err)
}

// openGeo opens the table of countries: the embedded one if file is empty.
func openGeo(file string) (*tracker.Geo, error) {
	geo, err := tracker.OpenGeo(file)
	if err != nil {
		return nil, fmt.Errorf("%w (set with --geoip)", err)
	}
	return geo, nil
}
