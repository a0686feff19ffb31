import { screen } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { SignIn } from '../pages/SignIn';
import { answering, json, problem } from '../testing/gateway';
import { show } from '../testing/render';
import { useSession } from './session';

function Door() {
  const { me } = useSession();
  if (me === undefined) return null;
  return me === null ? <SignIn /> : <p>{me.person?.given_name} is in</p>;
}

test('whoever has the right password is in, and whoever has not is told so', async () => {
  let right = false;
  answering({
    'POST /api/v1/auth/login': () => {
      if (!right) return problem(401, 'wrong-credentials');
      document.cookie = 'lms_csrf=token';
      return json({ access_token: 't', expires_in: 900 });
    },
    'GET /api/v1/me': {
      id: 'a',
      person: { given_name: 'Ada', family_name: 'M', email: 'a@x' },
      roles: [],
      delegations: [],
    },
  });
  show(<Door />);
  const user = userEvent.setup();
  await user.type(await screen.findByLabelText(/E-mail/), 'ada@demo.example');
  await user.type(screen.getByLabelText(/Password/), 'secret');
  await user.click(screen.getByRole('button', { name: 'Sign in' }));
  expect(await screen.findByText('The e-mail address or the password is wrong.')).toBeVisible();
  right = true;
  await user.click(screen.getByRole('button', { name: 'Sign in' }));
  expect(await screen.findByText('Ada is in')).toBeVisible();
});

test('a session that has ended elsewhere leads to signing in, and says why', async () => {
  document.cookie = 'lms_csrf=token';
  answering({
    'GET /api/v1/me': () => problem(401, 'unauthenticated'),
    'POST /api/v1/auth/refresh': () => problem(401, 'session-over'),
  });
  show(<Door />);
  expect(await screen.findByText(/Your session has ended/)).toBeVisible();
});
