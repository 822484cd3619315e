// Package dashboard is an http.Handler that shows and administers the sites of one server: the report
// page, the list of sites, login and first set-up, and the Stats API.
//
// Everything is rendered on the server. The pages work without JavaScript and under a content security
// policy without any exception; state lives in the URL, so that every view can be linked to.
package dashboard

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dachs/storage"
)

// Options configures New. The zero value of each field but Store is its default.
type Options struct {
	Store *storage.DB // required; the caller closes it after the last request
	// BaseURL is the public address, such as https://stats.example.com. Empty: each request's own address.
	// It decides what the tag to paste says, and whether the login cookie is kept to HTTPS.
	BaseURL string
	// Open shows all sites to everybody and administers nothing: for the demo on loopback.
	Open    bool
	Version string           // shown at the foot of each page; empty: not shown
	Logger  *slog.Logger     // nil: silent
	Now     func() time.Time // nil: time.Now
}

// Server serves the dashboard. All methods may be called from many goroutines.
//
// A request's RemoteAddr must be the client's: whoever runs the server behind a proxy resolves
// forwarding headers first. It is used in memory only, to slow down guesses of the password.
type Server struct {
	store   *storage.DB
	base    *url.URL // nil: taken from the request
	open    bool
	version string
	logger  *slog.Logger
	now     func() time.Time

	pages     *pages
	assets    *assets
	countries map[string]string // English names by ISO code
	zones     []string          // time zones offered for a site
	passwords *passwords
	attempts  *attempts
	handler   http.Handler
}

// New prepares the dashboard: templates are parsed and static files compressed here, once.
// Errors name the option at fault.
func New(o Options) (*Server, error) {
	if o.Store == nil {
		return nil, errors.New("make dashboard: no store")
	}
	base, err := parseBase(o.BaseURL)
	if err != nil {
		return nil, err
	}
	s := &Server{
		store: o.Store, base: base, open: o.Open, version: o.Version, logger: o.Logger, now: o.Now,
		countries: countryNames(), zones: zoneNames(),
		passwords: newPasswords(), attempts: newAttempts(),
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.assets, err = newAssets(staticFiles); err != nil {
		return nil, fmt.Errorf("make dashboard: %w", err)
	}
	if s.pages, err = newPages(templateFiles, s.templateFuncs()); err != nil {
		return nil, fmt.Errorf("make dashboard: %w", err)
	}
	if s.handler, err = s.routes(); err != nil {
		return nil, fmt.Errorf("make dashboard: %w", err)
	}
	return s, nil
}

// parseBase checks the public address. A path is refused because links and cookies start at the root.
func parseBase(base string) (*url.URL, error) {
	if base == "" {
		return nil, nil
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("base URL %q: want scheme and host only, such as https://stats.example.com", base)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// access says who may use a route.
type access uint8

const (
	everybody access = iota // static files, the API (it has tokens of its own)
	visitors                // login and set-up: not in the open demo, which has neither
	readers                 // the owner, or everybody in the open demo
	owner                   // the owner only
)

// route is one line of the route table.
type route struct {
	pattern string
	access  access
	handle  http.HandlerFunc
}

// routeTable lists every address that the dashboard answers. Anything else is notFound.
func (s *Server) routeTable() []route {
	return []route{
		{"GET /{$}", readers, s.showHome},
		{"GET /sites", readers, s.showSites},
		{"POST /sites", owner, s.addSite},
		{"GET /sites/{domain}", readers, s.showReport},
		{"GET /sites/{domain}/tag", readers, s.showTag},
		{"GET /login", visitors, s.showLogin},
		{"POST /login", visitors, s.login},
		{"POST /logout", owner, s.logout},
		{"GET /setup/{secret}", visitors, s.showSetup},
		{"POST /setup/{secret}", visitors, s.finishSetup},
		{"GET /static/{name}", everybody, s.assets.serve},
		{"/", everybody, s.notFound},
	}
}

// routes builds the handler: headers outermost, so that errors carry them too, then the guards of each
// route. The Stats API alone stands outside the cross-origin check: it takes a bearer token, never a cookie.
func (s *Server) routes() (http.Handler, error) {
	mux := http.NewServeMux()
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(s.refuseCrossOrigin))
	if s.base != nil {
		// Behind a proxy that rewrites Host, the browser's Origin is known only from the configuration.
		if err := guard.AddTrustedOrigin(s.base.String()); err != nil {
			return nil, fmt.Errorf("trust base URL: %w", err)
		}
	}
	for _, rt := range s.routeTable() {
		mux.Handle(rt.pattern, guard.Handler(limitBody(s.allow(rt.access, rt.handle))))
	}
	mux.HandleFunc("/api/v2/query", s.serveQuery) // answers other methods with a 405 in JSON
	return s.recoverPanics(secureHeaders(mux)), nil
}

// showHome leads to what there is to see: the only site, or the list.
func (s *Server) showHome(w http.ResponseWriter, r *http.Request) {
	if sites := s.store.Sites(); len(sites) == 1 {
		http.Redirect(w, r, sitePath(sites[0].Domain), http.StatusSeeOther)
		return
	}
	http.Redirect(w, r, "/sites", http.StatusSeeOther)
}

// sitePath is the address of a site's report.
func sitePath(domain string) string { return "/sites/" + url.PathEscape(domain) }

// publicURL is the address under which browsers reach this server, without a trailing slash.
func (s *Server) publicURL(r *http.Request) string {
	if s.base != nil {
		return s.base.String()
	}
	u := url.URL{Scheme: "http", Host: r.Host}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	return u.String()
}

// overHTTPS tells whether the browser speaks HTTPS to this server, as far as can be known.
func (s *Server) overHTTPS(r *http.Request) bool {
	return r.TLS != nil || s.base != nil && s.base.Scheme == "https"
}
