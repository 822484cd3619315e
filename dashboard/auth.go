package dashboard

import (
	"errors"
	"hash/maphash"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"dachs/storage"

	"golang.org/x/time/rate"
)

const (
	// loginLasts is how long a login is good for: long enough for a daily look, short enough that a
	// forgotten browser loses it.
	loginLasts = 30 * 24 * time.Hour

	// attemptSlots bounds the memory of the throttle: an address is hashed into one of so many buckets.
	// Two addresses in one bucket share it, which only matters to somebody who is being guessed against.
	attemptSlots = 1024
	// attemptBurst wrong passwords in a row are typing errors; then one more every attemptEvery.
	attemptBurst = 5
	attemptEvery = 10 * time.Second
)

// busyText is what people read for errBusy.
const busyText = "The server is busy checking other passwords. Try again in a moment."

// allow lets a request pass only if its route's access admits it.
func (s *Server) allow(a access, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case a == everybody || s.open && a == readers:
			next(w, r)
		case s.open:
			s.message(w, r, http.StatusForbidden, "This is an open demo",
				"Everybody may look at it, so there is nothing to log in to and nothing to change.")
		case a == visitors:
			next(w, r)
		default:
			s.requireOwner(w, r, next)
		}
	})
}

// requireOwner sends a request without a login to where it can get one.
func (s *Server) requireOwner(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	_, known, err := s.store.Owner()
	switch {
	case err != nil:
		s.fail(w, r, "read owner", err)
	case !known:
		s.notSetUp(w, r)
	case s.loggedIn(r):
		next(w, r)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
	default:
		s.message(w, r, http.StatusForbidden, "You are not logged in",
			"Your login may have ended in the meantime. Log in and try again.")
	}
}

func (s *Server) notSetUp(w http.ResponseWriter, r *http.Request) {
	s.message(w, r, http.StatusForbidden, "This server is not set up yet",
		"Nobody can log in before the owner has chosen a password. The link to do so was printed when Dachs was started "+
			"for the first time. If it is lost or has expired, run “dachs user setup” on the server: it prints a new one.")
}

// cookieName carries the __Host- prefix wherever browsers accept it: then no other host of the domain can
// plant a login.
func (s *Server) cookieName(r *http.Request) string {
	if s.overHTTPS(r) {
		return "__Host-dachs_login"
	}
	return "dachs_login"
}

func (s *Server) loginSecret(r *http.Request) string {
	c, err := r.Cookie(s.cookieName(r))
	if err != nil {
		return ""
	}
	return c.Value
}

func (s *Server) loggedIn(r *http.Request) bool {
	secret := s.loginSecret(r)
	if secret == "" {
		return false
	}
	err := s.store.CheckLogin(secret)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		s.logger.Error("cannot check login", "error", err)
	}
	return err == nil
}

// setLoginCookie hands a login to the browser; an empty secret takes it away.
func (s *Server) setLoginCookie(w http.ResponseWriter, r *http.Request, secret string) {
	c := &http.Cookie{
		Name: s.cookieName(r), Value: secret, Path: "/", MaxAge: int(loginLasts / time.Second),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: s.overHTTPS(r),
	}
	if secret == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// loginPage is the view of login.gohtml.
type loginPage struct {
	page
	Next    string
	Problem string
}

func (s *Server) showLogin(w http.ResponseWriter, r *http.Request) {
	_, known, err := s.store.Owner()
	next := localPath(r.FormValue("next"))
	switch {
	case err != nil:
		s.fail(w, r, "read owner", err)
	case !known:
		s.notSetUp(w, r)
	case s.loggedIn(r):
		http.Redirect(w, r, next, http.StatusSeeOther)
	default:
		s.render(w, r, http.StatusOK, "login", loginPage{page: s.page(r, "Log in"), Next: next})
	}
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.badForm(w, r)
		return
	}
	view := loginPage{page: s.page(r, "Log in"), Next: localPath(r.PostFormValue("next"))}
	o, known, err := s.store.Owner()
	switch {
	case err != nil:
		s.fail(w, r, "read owner", err)
		return
	case !known:
		s.notSetUp(w, r)
		return
	case !s.attempts.allow(r.RemoteAddr, s.now()):
		view.Problem = "Too many attempts. Wait half a minute, then try again."
		s.render(w, r, http.StatusTooManyRequests, "login", view)
		return
	}
	ok, err := s.passwords.matches(r.Context(), r.PostFormValue("password"), o.PasswordHash)
	switch {
	case errors.Is(err, errBusy):
		view.Problem = busyText
		s.render(w, r, http.StatusServiceUnavailable, "login", view)
	case err != nil:
		s.fail(w, r, "check password", err)
	case !ok:
		view.Problem = "That is not the password."
		s.render(w, r, http.StatusForbidden, "login", view)
	default:
		s.startLogin(w, r, view.Next)
	}
}

// startLogin logs the browser in and leads it on.
func (s *Server) startLogin(w http.ResponseWriter, r *http.Request, next string) {
	secret, err := s.store.CreateLogin(loginLasts)
	if err != nil {
		s.fail(w, r, "create login", err)
		return
	}
	s.setLoginCookie(w, r, secret)
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	if err := s.store.EndLogin(s.loginSecret(r)); err != nil {
		s.fail(w, r, "end login", err)
		return
	}
	s.setLoginCookie(w, r, "")
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// localPath returns p if it is an address on this server, else the start page. Anything that a browser
// could read as another host ("//evil", "/\evil") is refused, or a link to our login could lead there.
func localPath(p string) string {
	u, err := url.Parse(p)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(p, "/") ||
		strings.HasPrefix(p, "//") || strings.ContainsAny(p, "\\\t\r\n") {
		return "/"
	}
	return p
}

// attempts slows down guessing. It keeps no address: only which bucket of a keyed hash was used how often.
type attempts struct {
	seed  maphash.Seed
	slots [attemptSlots]*rate.Limiter
}

func newAttempts() *attempts {
	a := &attempts{seed: maphash.MakeSeed()}
	for i := range a.slots {
		a.slots[i] = rate.NewLimiter(rate.Every(attemptEvery), attemptBurst)
	}
	return a
}

// allow counts an attempt from a client and tells whether it may be tried.
func (a *attempts) allow(remoteAddr string, now time.Time) bool {
	slot := maphash.String(a.seed, clientNet(remoteAddr)) % attemptSlots
	return a.slots[slot].AllowN(now, 1)
}

// clientNet is what one client can be expected to own: an IPv4 address or an IPv6 /64.
func clientNet(remoteAddr string) string {
	host, _, err := net.SplitHostPort(remoteAddr)
	if err != nil {
		host = remoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if addr = addr.Unmap().WithZone(""); addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.String()
		}
	}
	return addr.String()
}
