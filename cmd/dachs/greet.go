package main

import (
	"fmt"
	"io"
	"time"
)

// greet prints where to go next. The first start of a store also prints a set-up link and the tag; later
// ones do not repeat them, because a start's output ends up in logs.
func (s *server) greet(w io.Writer, data string) error {
	_, owned, err := s.store.Owner()
	if err != nil {
		return fmt.Errorf("read owner: %w", err)
	}
	issued, until, err := s.store.SetupState()
	if err != nil {
		return fmt.Errorf("read set-up state: %w", err)
	}
	fmt.Fprintf(w, "Dachs %s listens on %s. Dashboard: %s/\n", buildVersion(), s.addr, s.base)
	switch {
	case owned:
	case !issued:
		return s.invite(w)
	case s.admin.now().Before(until):
		fmt.Fprintf(w, "No password is set yet. The set-up link that was printed last works until %s.\n", clock(until))
	default:
		fmt.Fprintf(w, "No password is set yet and the set-up link has expired. For a new one: dachs user setup%s\n", dataFlag(data))
	}
	return nil
}

// invite prints the set-up link and the tag.
func (s *server) invite(w io.Writer) error {
	link, err := s.admin.newSetupLink()
	if err != nil {
		return fmt.Errorf("make set-up link: %w", err)
	}
	domain := "example.com"
	if sites := s.store.Sites(); len(sites) > 0 {
		domain = sites[0].Domain
	}
	_, err = fmt.Fprintf(w, "\nOpen this to choose a password and name your site (works once, until %s):\n  %s\n"+
		"\nPaste this into the pages of your site, with its own domain:\n  %s\n\n",
		clock(link.Until), link.URL, tag(s.base, domain))
	return err
}

// tag is what a site owner pastes into the head of each page.
func tag(base, domain string) string {
	return fmt.Sprintf(`<script defer src="%s/d.js" data-domain="%s"></script>`, base, domain)
}

// clock shows the end of a set-up link in the operator's own time.
func clock(t time.Time) string { return t.Local().Format("15:04 MST") }

// defaultData is where the store lies unless --data says otherwise.
const defaultData = "./dachs-data"

// dataFlag is what a suggested command needs to reach the same store.
func dataFlag(data string) string {
	if data == defaultData {
		return ""
	}
	return " --data " + data
}
