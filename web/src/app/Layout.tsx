import AppBar from '@mui/material/AppBar';
import Avatar from '@mui/material/Avatar';
import Badge from '@mui/material/Badge';
import Box from '@mui/material/Box';
import Divider from '@mui/material/Divider';
import Drawer from '@mui/material/Drawer';
import IconButton from '@mui/material/IconButton';
import List from '@mui/material/List';
import ListItem from '@mui/material/ListItem';
import ListItemButton from '@mui/material/ListItemButton';
import ListItemIcon from '@mui/material/ListItemIcon';
import ListItemText from '@mui/material/ListItemText';
import ListSubheader from '@mui/material/ListSubheader';
import Menu from '@mui/material/Menu';
import MenuItem from '@mui/material/MenuItem';
import Toolbar from '@mui/material/Toolbar';
import Typography from '@mui/material/Typography';
import useMediaQuery from '@mui/material/useMediaQuery';
import { useTheme } from '@mui/material/styles';
import CalendarIcon from '@mui/icons-material/CalendarMonthOutlined';
import CheckIcon from '@mui/icons-material/Check';
import ApprovalsIcon from '@mui/icons-material/FactCheckOutlined';
import HomeIcon from '@mui/icons-material/HomeOutlined';
import MenuIcon from '@mui/icons-material/Menu';
import NotificationsIcon from '@mui/icons-material/NotificationsOutlined';
import PeopleIcon from '@mui/icons-material/PeopleAltOutlined';
import RequestsIcon from '@mui/icons-material/BeachAccessOutlined';
import RulesIcon from '@mui/icons-material/RuleOutlined';
import { useInfiniteQuery } from '@tanstack/react-query';
import { useState, type MouseEvent, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { Link, NavLink, Outlet, useLocation } from 'react-router';
import { casesOf, notifications } from '../api/queries';
import { useTroubleText } from '../components/Trouble';
import { LANGUAGES, speak, type Language } from '../i18n';
import { useLiveUpdates } from './live';
import { useHasRole, useMe, useSession } from './session';
import { useSay } from './toasts';

const DRAWER = 248;

interface Place {
  to: string;
  label: string;
  icon: ReactNode;
  count?: number;
}

/** The frame around every page: where one can go, the bell, and one's own menu. */
export function Layout() {
  const { t } = useTranslation();
  const me = useMe();
  const wide = useMediaQuery(useTheme().breakpoints.up('md'));
  const [open, setOpen] = useState(false);
  const { pathname } = useLocation();
  useLiveUpdates(me.id);
  const inbox = useInfiniteQuery(notifications);
  const unread = inbox.data?.pages[0]?.unread ?? 0;
  const close = () => {
    setOpen(false);
  };

  return (
    <Box sx={{ display: 'flex', minHeight: '100vh' }}>
      <Box component="a" href="#content" sx={SKIP}>
        {t('nav.skip')}
      </Box>
      <AppBar
        position="fixed"
        color="inherit"
        elevation={0}
        sx={{ zIndex: (theme) => theme.zIndex.drawer + 1, borderBottom: 1, borderColor: 'divider' }}
      >
        <Toolbar>
          {!wide && (
            <IconButton
              edge="start"
              aria-label={t('nav.menu')}
              aria-expanded={open}
              onClick={() => {
                setOpen(!open);
              }}
              sx={{ mr: 1 }}
            >
              <MenuIcon />
            </IconButton>
          )}
          <Box component="img" src="/favicon.svg" alt="" sx={{ width: 30, height: 30, mr: 1.25 }} />
          <Typography component="span" sx={{ fontWeight: 750, fontSize: '1.1rem', flexGrow: 1 }}>
            LMS
          </Typography>
          <IconButton
            component={Link}
            to="/notifications"
            aria-label={t('nav.notificationsUnread', { count: unread })}
            aria-current={pathname === '/notifications' ? 'page' : undefined}
          >
            <Badge badgeContent={unread} color="primary">
              <NotificationsIcon />
            </Badge>
          </IconButton>
          <OwnMenu />
        </Toolbar>
      </AppBar>
      <Box component="nav" aria-label={t('nav.label')} sx={{ width: { md: DRAWER }, flexShrink: 0 }}>
        <Drawer
          variant={wide ? 'permanent' : 'temporary'}
          open={wide || open}
          onClose={close}
          slotProps={{
            paper: { sx: { width: DRAWER, bgcolor: 'background.default', borderRight: wide ? 0 : 1 } },
          }}
        >
          <Toolbar />
          <Places onGo={close} />
        </Drawer>
      </Box>
      <Box
        component="main"
        id="content"
        tabIndex={-1}
        sx={{ flexGrow: 1, minWidth: 0, outline: 0, px: { xs: 2, md: 4 }, pt: { xs: 2, md: 4 }, pb: 8 }}
      >
        <Toolbar />
        <Box sx={{ maxWidth: 1120, mx: 'auto' }}>
          <Outlet />
        </Box>
      </Box>
    </Box>
  );
}

const SKIP = {
  position: 'fixed',
  top: 8,
  left: 8,
  zIndex: 2000,
  px: 2,
  py: 1,
  borderRadius: '8px',
  bgcolor: 'primary.main',
  color: 'primary.contrastText',
  transform: 'translateY(-200%)',
  '&:focus': { transform: 'none' },
} as const;

function Places({ onGo }: { onGo: () => void }) {
  const { t } = useTranslation();
  const decides = useHasRole('manager', 'hr');
  const standsIn = useMe().delegations.length > 0;
  const isHr = useHasRole('hr');
  const runs = useHasRole('hr', 'admin');
  const cases = useInfiniteQuery({ ...casesOf('pending'), enabled: decides || standsIn });
  const waiting = cases.data?.pages.reduce((sum, page) => sum + page.items.length, 0) ?? 0;
  const own: Place[] = [
    { to: '/', label: t('nav.home'), icon: <HomeIcon /> },
    { to: '/requests', label: t('nav.requests'), icon: <RequestsIcon /> },
    { to: '/calendar', label: t('nav.calendar'), icon: <CalendarIcon /> },
  ];
  if (decides || standsIn) {
    own.push({ to: '/approvals', label: t('nav.approvals'), icon: <ApprovalsIcon />, count: waiting });
  }
  const company: Place[] = [];
  if (runs || decides) company.push({ to: '/people', label: t('nav.people'), icon: <PeopleIcon /> });
  if (isHr || runs) company.push({ to: '/rules', label: t('nav.rules'), icon: <RulesIcon /> });
  return (
    <Box sx={{ px: 1.5, pt: 2 }}>
      <PlaceList places={own} onGo={onGo} />
      {company.length > 0 && <PlaceList places={company} title={t('nav.company')} onGo={onGo} />}
    </Box>
  );
}

function PlaceList({ places, title, onGo }: { places: Place[]; title?: string; onGo: () => void }) {
  return (
    <List
      dense
      subheader={
        title === undefined ? undefined : (
          <ListSubheader disableSticky sx={{ bgcolor: 'transparent' }}>
            {title}
          </ListSubheader>
        )
      }
    >
      {places.map(({ to, label, icon, count = 0 }) => (
        <ListItem key={to} disablePadding sx={{ mb: 0.25 }}>
          <ListItemButton
            component={NavLink}
            to={to}
            end={to === '/'}
            onClick={onGo}
            sx={{
              borderRadius: '10px',
              py: 0.9,
              '&.active': {
                bgcolor: 'background.paper',
                color: 'primary.main',
                '& svg': { color: 'primary.main' },
              },
            }}
          >
            <ListItemIcon sx={{ minWidth: 38 }}>{icon}</ListItemIcon>
            <ListItemText primary={label} slotProps={{ primary: { sx: { fontWeight: 550 } } }} />
            {count > 0 && <Badge badgeContent={count} color="primary" sx={{ mr: 1.5 }} />}
          </ListItemButton>
        </ListItem>
      ))}
    </List>
  );
}

function OwnMenu() {
  const { t, i18n } = useTranslation();
  const me = useMe();
  const { signOut } = useSession();
  const say = useSay();
  const text = useTroubleText();
  const [anchor, setAnchor] = useState<HTMLElement | null>(null);
  const name = me.person ? `${me.person.given_name} ${me.person.family_name}` : me.id;
  const initials = me.person ? `${me.person.given_name.charAt(0)}${me.person.family_name.charAt(0)}` : '?';
  const close = () => {
    setAnchor(null);
  };
  return (
    <>
      <IconButton
        aria-label={t('nav.ownMenu', { name, initials })}
        aria-haspopup="menu"
        aria-expanded={anchor !== null}
        onClick={(event: MouseEvent<HTMLElement>) => {
          setAnchor(event.currentTarget);
        }}
        sx={{ ml: 0.5 }}
      >
        <Avatar
          sx={{
            width: 34,
            height: 34,
            fontSize: 14,
            fontWeight: 700,
            bgcolor: 'primary.main',
            color: 'primary.contrastText',
          }}
        >
          {initials}
        </Avatar>
      </IconButton>
      <Menu anchorEl={anchor} open={anchor !== null} onClose={close}>
        <Box component="li" role="none" sx={{ px: 2, py: 1 }}>
          <Typography sx={{ fontWeight: 600 }}>{name}</Typography>
          <Typography variant="body2" color="textSecondary">
            {me.person?.email}
          </Typography>
        </Box>
        <Divider component="li" role="none" />
        {(Object.keys(LANGUAGES) as Language[]).map((language) => (
          <MenuItem
            key={language}
            role="menuitemradio"
            aria-checked={i18n.language === language}
            lang={language}
            onClick={() => {
              void speak(language);
              close();
            }}
          >
            <ListItemIcon>{i18n.language === language && <CheckIcon fontSize="small" />}</ListItemIcon>
            {LANGUAGES[language]}
          </MenuItem>
        ))}
        <Divider component="li" role="none" />
        <MenuItem
          onClick={() => {
            close();
            signOut().catch((error: unknown) => {
              say(text(error instanceof Error ? error : new Error(String(error))), 'error');
            });
          }}
        >
          <ListItemIcon />
          {t('nav.signOut')}
        </MenuItem>
      </Menu>
    </>
  );
}
