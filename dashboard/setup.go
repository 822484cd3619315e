package dashboard

import (
	"errors"
	"net/http"
	"time"

	"dachs/storage"
)

// setupPage is the view of setup.gohtml. Passwords are never sent back.
type setupPage struct {
	page
	FirstSite    bool // there is no site yet: the form asks for one
	Domain, Zone string
	Zones        []string
	MinPassword  int
	Problem      string
}

func (s *Server) showSetup(w http.ResponseWriter, r *http.Request) {
	if !s.setupValid(w, r) {
		return
	}
	s.render(w, r, http.StatusOK, "setup", s.setupPage(r))
}

func (s *Server) setupPage(r *http.Request) setupPage {
	return setupPage{
		page: s.page(r, "Set up"), FirstSite: len(s.store.Sites()) == 0, Zone: "UTC", Zones: s.zones, MinPassword: minPassword,
	}
}

// setupValid checks the link and answers itself if it is of no use.
func (s *Server) setupValid(w http.ResponseWriter, r *http.Request) bool {
	err := s.store.CheckSetup(r.PathValue("secret"))
	switch {
	case err == nil:
		return true
	case errors.Is(err, storage.ErrNotFound):
		s.setupGone(w, r)
	default:
		s.fail(w, r, "check set-up link", err)
	}
	return false
}

// setupGone does not tell a used link from an expired or an invented one: that is nobody's business.
func (s *Server) setupGone(w http.ResponseWriter, r *http.Request) {
	s.message(w, r, http.StatusGone, "This set-up link is not valid",
		"It works once and for 30 minutes, and an older link ends when a new one is made. "+
			"Run “dachs user setup” on the server: it prints a new link.")
}

// finishSetup creates the owner and the first site, and logs in. The link is used up only when
// everything else is known to be right, so that a typing error does not cost it.
func (s *Server) finishSetup(w http.ResponseWriter, r *http.Request) {
	if !s.setupValid(w, r) {
		return
	}
	if err := r.ParseForm(); err != nil {
		s.badForm(w, r)
		return
	}
	view := s.setupPage(r)
	view.Domain, view.Zone = r.PostFormValue("domain"), r.PostFormValue("timezone")
	password := r.PostFormValue("password")
	err := checkNewPassword(password, r.PostFormValue("again"))
	// A second set-up is for a new password: then the sites are there.
	domain, zone, withSite := "", "", view.FirstSite || view.Domain != ""
	if err == nil && withSite {
		domain, zone, err = s.cleanSite(view.Domain, view.Zone)
	}
	if err != nil {
		view.Problem = sentence(err)
		s.render(w, r, http.StatusUnprocessableEntity, "setup", view)
		return
	}
	if !s.createOwner(w, r, view, password) {
		return
	}
	if !withSite {
		s.startLogin(w, r, "/")
		return
	}
	// ErrExists is fine: "dachs site add" may have been quicker.
	if _, err := s.store.AddSite(domain, zone); err != nil && !errors.Is(err, storage.ErrExists) {
		s.fail(w, r, "add site", err)
		return
	}
	s.startLogin(w, r, sitePath(domain)+"/tag")
}

// createOwner stores the password and uses up the link; if it cannot, it answers itself.
func (s *Server) createOwner(w http.ResponseWriter, r *http.Request, view setupPage, password string) bool {
	hash, err := s.passwords.hash(r.Context(), password)
	switch {
	case errors.Is(err, errBusy):
		view.Problem = busyText
		s.render(w, r, http.StatusServiceUnavailable, "setup", view)
		return false
	case err != nil:
		s.fail(w, r, "hash password", err)
		return false
	}
	err = s.store.FinishSetup(r.PathValue("secret"), storage.Owner{PasswordHash: hash, Created: s.now().UTC().Truncate(time.Second)})
	switch {
	case errors.Is(err, storage.ErrNotFound): // used in another window while this one was hashing
		s.setupGone(w, r)
	case err != nil:
		s.fail(w, r, "finish set-up", err)
	}
	return err == nil
}
