package dashboard

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
)

// hashParams are the second choice of OWASP's Password Storage Cheat Sheet for Argon2id: 19 MiB, two
// passes, one lane. They are written into the hash itself, so raising them later keeps old passwords valid.
var hashParams = argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

const (
	// maxHashing bounds the memory of concurrent guesses to two times 19 MiB.
	maxHashing = 2
	// hashPatience is how long a request waits for its turn before it is told to come back.
	hashPatience = 5 * time.Second

	minPassword = 10   // characters
	maxPassword = 1024 // bytes, far beyond any password and far below what would be slow to hash
)

// errBusy says that too many passwords are being checked at this moment.
var errBusy = errors.New("too many logins at once")

// passwords computes Argon2id hashes, a few at a time.
type passwords struct {
	turns chan struct{} // holds one token for each computation that runs
}

func newPasswords() *passwords { return &passwords{turns: make(chan struct{}, maxHashing)} }

// turn waits until one of the few computations may run, and returns the function that ends it.
func (p *passwords) turn(ctx context.Context) (done func(), err error) {
	patience := time.NewTimer(hashPatience)
	defer patience.Stop()
	select {
	case p.turns <- struct{}{}:
		return func() { <-p.turns }, nil
	case <-patience.C:
		return nil, errBusy
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// hash returns the PHC string of a password.
func (p *passwords) hash(ctx context.Context, password string) (string, error) {
	done, err := p.turn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	return argon2id.CreateHash(password, &hashParams)
}

// matches tells whether password is the one that hash was made of.
func (p *passwords) matches(ctx context.Context, password, hash string) (bool, error) {
	if len(password) > maxPassword {
		return false, nil
	}
	done, err := p.turn(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	return argon2id.ComparePasswordAndHash(password, hash)
}

// checkNewPassword returns what is wrong with a password that is about to be set.
func checkNewPassword(password, again string) error {
	switch {
	case utf8.RuneCountInString(password) < minPassword:
		return fmt.Errorf("the password needs at least %d characters", minPassword)
	case len(password) > maxPassword:
		return fmt.Errorf("the password may have at most %d bytes", maxPassword)
	case password != again:
		return errors.New("the two passwords differ")
	}
	return nil
}
